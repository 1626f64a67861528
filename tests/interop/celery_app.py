"""A Celery app as there are many, which knows nothing of taskq_django. Its worker is a process of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery

app = Celery("legacy", broker=os.environ["TASKQ_TEST_CELERY_BROKER"], set_as_current=False)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue="default",
    task_ignore_result=True,
    worker_hijack_root_logger=False,
)


@app.task(name="tests.app.tasks.add", bind=True)
def add(self: Any, *args: Any, **kwargs: Any) -> None:
    note(self.request, args, kwargs)


@app.task(name="legacy.tasks.report", bind=True)
def report(self: Any, *args: Any, **kwargs: Any) -> None:
    note(self.request, args, kwargs)


def note(request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """A line for each run."""
    found = {
        "id": request.id,
        "task": request.task,
        "call": repr((args, kwargs)),
        "retries": request.retries,
        "expires": request.expires,
        "priority": request.delivery_info["priority"],
    }
    with Path(os.environ["TASKQ_TEST_CELERY_RUNS"]).open("a") as file:
        file.write(json.dumps(found) + "\n")
