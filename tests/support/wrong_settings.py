"""Every kind of mistake in the setting TASKQ, each one once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

WRONG: dict[str, Any] = {
    "list": [],
    "none": None,
    "text": "WORKER",
    "section list": {"WORKER": []},
    "section none": {"WORKER": None},
    "key": {"WORKER": {"THREDS": 4}},
    "lower": {"WORKER": {"threads": 4}},
    "section": {"WORKR": {}},
    "lower section": {"worker": {}},
    "no section": {"THREADS": 4},
    "far key": {"WORKER": {"COLOUR": 4}},
    "number key": {"WORKER": {3: 4}},
    "number section": {3: {}},
    "beat": {"BEAT": {"MAX_SLEEPS": 4}},
    "str": {"WORKER": {"THREADS": "4"}},
    "bool": {"WORKER": {"THREADS": True}},
    "float": {"WORKER": {"THREADS": 4.0}},
    "zero": {"WORKER": {"THREADS": 0}},
    "huge": {"WORKER": {"THREADS": 10**5000}},
    "nan": {"WORKER": {"GRACE": float("nan")}},
    "inf": {"WORKER": {"GRACE": float("inf")}},
    "negative": {"WORKER": {"GRACE": timedelta(seconds=-1)}},
    "empty": {"WORKER": {"NAME": ""}},
    "queues": {"WORKER": {"QUEUES": "mail"}},
    "queue": {"WORKER": {"QUEUES": ["mail", 3]}},
    "queue twice": {"WORKER": {"QUEUES": ["mail", "mail"]}},
    "queue name": {"WORKER": {"EXCLUDE_QUEUES": ["a b"]}},
    "lease": {"WORKER": {"HEARTBEAT": 60}},
    "page": {"ADMIN": {"PAGE_SIZE": "x"}},
    "page none": {"ADMIN": {"PAGE_SIZE": None}},
    "count": {"ADMIN": {"COUNT_LIMIT": 0}},
    "redact": {"ADMIN": {"REDACT": [""]}},
    "redact text": {"ADMIN": {"REDACT": "pass"}},
    "schedulable": {"ADMIN": {"SCHEDULABLE": "*"}},
    "permission": {"ADMIN": {"SCHEDULE_PERMISSION": True}},
    "results": {"RESULTS": {"KEEP_SUCCESSES": "14"}},
    "attempts": {"TASK_DEFAULTS": {"MAX_ATTEMPTS": 10**9}},
}
