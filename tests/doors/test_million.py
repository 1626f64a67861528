"""With a million results no page of the admin asks more than with a few, nor reads them all.

TASKQ_TEST_LONG=1 has a million of them; else some thousands.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from taskq_django.models import JobResult, QueuedJob, Schedule
from tests.support.filling import RARE, TASK, Filled, fill
from tests.support.scale import IS_LONG, scaled
from tests.support.usage import seconds_of

pytestmark = [
    pytest.mark.long,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(scaled(3600, 300)),
]

FILLED = scaled(Filled(), Filled(results=2_000, queued=1_000, schedules=20, runs=2))
MOST = 12  # queries of a page
PAGE = 1.0  # seconds, on a machine that does much else meanwhile

# What may be asked of each list, one by one and together.
LISTS: dict[str, list[dict[str, str]]] = {
    "jobresult": [
        *({"status": status} for status in ("SUCCESSFUL", "FAILED", "CANCELLED", "EXPIRED")),
        {"task": TASK},
        {"task": RARE},
        {"queue": "mail"},
        {"queue": "none"},
        {"status": "FAILED", "task": TASK},
        {"status": "SUCCESSFUL", "task": RARE},
        {"status": "FAILED", "queue": "mail"},
        {"task": TASK, "queue": "mail"},
        {"status": "CANCELLED", "task": RARE, "queue": "video"},
        {"q": TASK},
        {"q": "explode"},
        {"q": "no_such_word"},
        {"q": "42"},
        {"q": "task:explode"},
        {"q": "queue:mail"},
        {"q": "error:KeyError"},
        {"q": "error:NoSuchError"},
        {"q": "add(1, order=42)"},
        {"q": "error:KeyError queue:mail", "task": TASK},
        {"q": "no_such_word", "status": "FAILED", "queue": "mail"},
        {"q": "019"},
        {"o": "5"},
        {"o": "-5"},
        {"p": "100"},
        {"p": "100", "status": "SUCCESSFUL"},
    ],
    "queuedjob": [
        *({"status": status} for status in ("READY", "RUNNING", "SCHEDULED")),
        {"task": TASK},
        {"task": RARE},
        {"queue": "mail"},
        {"status": "READY", "queue": "mail"},
        {"status": "READY", "task": RARE},
        {"status": "RUNNING", "task": TASK, "queue": "mail"},
        {"q": TASK},
        {"q": "explode"},
        {"q": "no_such_word"},
        {"q": "queue:mail"},
        {"q": "no_such_word", "status": "READY"},
        {"o": "5"},
        {"p": "100"},
    ],
    "schedule": [
        *({"state": state} for state in ("broken", "overdue", "finished", "code")),
        {"enabled": "yes"},
        {"enabled": "no"},
        {"task": RARE},
        {"enabled": "yes", "state": "broken", "task": RARE},
        {"q": "schedule 00001"},
        {"q": "no_such_word"},
        *({"o": f"{number}"} for number in range(1, 8)),
        {"p": "50"},
    ],
    "dashboard": [{"range": "1h"}, {"range": "24h"}, {"range": "7d"}],
    "queue": [],
    "workerprocess": [],
    "registeredtask": [{"q": "add"}],
}


def addresses() -> dict[str, str]:
    """By what they ask for."""
    found = {}
    for model, asked in LISTS.items():
        url = reverse(f"admin:taskq_django_{model}_changelist")
        for query in [{}, *asked]:
            found[f"{model} {urlencode(query)}".strip()] = f"{url}?{urlencode(query)}"
    results = JobResult.objects.order_by("-id")
    ids = {
        "success": results.filter(status="SUCCESSFUL")[0].pk,
        "failure": results.filter(status="FAILED")[0].pk,
        "the oldest": JobResult.objects.order_by("id")[0].pk,
        "ready": QueuedJob.objects.filter(status="READY")[0].pk,
        "running": QueuedJob.objects.filter(status="RUNNING")[0].pk,
    }
    for what, id_ in ids.items():
        found[f"job, {what}"] = reverse("admin:taskq_django_job", args=[id_])
        found[f"list with its id, {what}"] = f"{reverse('admin:taskq_django_jobresult_changelist')}?q={id_}"
    schedule = Schedule.objects.order_by("id")[0].pk
    for what in ("change", "history", "delete"):
        found[f"schedule, {what}"] = reverse(f"admin:taskq_django_schedule_{what}", args=[schedule])
    found["schedule, add"] = reverse("admin:taskq_django_schedule_add")
    found["task, run"] = reverse("admin:taskq_django_registeredtask_run", args=[TASK])
    found["section"] = reverse("admin:app_list", args=["taskq_django"])
    return found


def visit(client: Client, address: str) -> tuple[int, list[str]]:
    """The status, and what was asked."""
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(address, follow=True)
    return answer.status_code, [each["sql"] for each in asked.captured_queries]


def test_no_page_asks_more_than_a_dozen_questions(
    admin_client: Client, record_property: Callable[[str, object], None]
) -> None:
    fill(FILLED, datetime.now(UTC))
    too_many, too_slow = {}, {}
    for name, address in addresses().items():
        visit(admin_client, address)  # what a process asks once
        status, asked = visit(admin_client, address)
        assert status == 200, name
        if len(asked) > MOST:
            too_many[name] = asked
        if IS_LONG:
            seconds = min(seconds_of(lambda address=address: admin_client.get(address)) for _ in range(3))  # type: ignore[misc]
            record_property(f"{name}: ms, queries", f"{seconds * 1000:.0f}, {len(asked)}")
            if seconds > PAGE:
                too_slow[name] = seconds
    assert not too_many, {name: (len(asked), asked) for name, asked in too_many.items()}
    assert not too_slow
