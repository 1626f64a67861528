"""Django settings of whichever system BENCH_SYSTEM and BENCH_VARIANT name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

SYSTEM, VARIANT = os.environ["BENCH_SYSTEM"], os.environ["BENCH_VARIANT"]
PROCESSES, MODE = int(os.environ.get("BENCH_PROCESSES", "2")), os.environ.get("BENCH_MODE", "noop")
SECRET_KEY = "for benchmarks only"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING_CONFIG = None
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]

if "sqlite" in VARIANT:
    recommended = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    _default: dict[str, Any] = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(os.environ["BENCH_FOLDER"]) / f"{SYSTEM}-{VARIANT}.sqlite3",
        "OPTIONS": {} if VARIANT == "sqlite_stock" else recommended,
    }
elif VARIANT == "mariadb":
    from tests.support.servers import choose_mysql_driver

    choose_mysql_driver()
    _default = {**json.loads(os.environ["BENCH_MARIADB"]), "NAME": f"bench_{SYSTEM}", "CONN_MAX_AGE": 600}
else:
    _default = {**json.loads(os.environ["BENCH_POSTGRESQL"]), "NAME": f"bench_{SYSTEM}_{VARIANT}", "CONN_MAX_AGE": 600}
DATABASES = {"default": _default}

if SYSTEM == "taskq_django":
    INSTALLED_APPS += ["taskq_django", "tests.benchmarks.peers"]
    if VARIANT.startswith("redis"):
        _options = {"broker": os.environ["BENCH_REDIS"]}
        TASKS: dict[str, Any] = {"default": {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": _options}}
elif SYSTEM == "celery" and VARIANT == "redis_pg":
    INSTALLED_APPS += ["django_celery_results"]
elif SYSTEM == "django_vtasks":
    INSTALLED_APPS += ["django_vtasks", "tests.benchmarks.peers"]
    _options = {"BROKER_URL": os.environ["BENCH_REDIS"]}
    TASKS = {"default": {"BACKEND": "django_vtasks.backends.valkey.ValkeyTaskBackend", "OPTIONS": _options}}
    VTASKS_RUN_SCHEDULER = False
elif SYSTEM == "django_tasks_db":
    INSTALLED_APPS += ["django_tasks_db"]
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
elif SYSTEM == "django_ox":
    INSTALLED_APPS += ["django_ox"]
    TASKS = {"default": {"BACKEND": "django_ox.backend.OxBackend"}}
elif SYSTEM == "dj_queue":
    INSTALLED_APPS += ["dj_queue"]
    _threads = 100 // PROCESSES if MODE == "threads" else 3
    _workers = [{"queues": ["*"], "processes": PROCESSES, "threads": _threads}]
    TASKS = {"default": {"BACKEND": "dj_queue.backend.DjQueueBackend", "QUEUES": [], "OPTIONS": {"workers": _workers}}}
elif SYSTEM == "django_q2":
    INSTALLED_APPS += ["django_q"]
    Q_CLUSTER = {
        "name": "bench",
        "orm": "default",
        "workers": PROCESSES,
        "timeout": 60,
        "retry": 120,
        "bulk": 10,
        "poll": 0.2,
        "save_limit": 0,
        "queue_limit": 100,
        "catch_up": False,
        "ack_failures": True,
        "log_level": "ERROR",
    }
