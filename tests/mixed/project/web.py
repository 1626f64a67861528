"""A process that serves requests: it does what lines of JSON ask for, and answers each by one."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import UUID

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402 - wants the apps
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import reverse  # noqa: E402
from shop import tasks  # noqa: E402

import taskq_django  # noqa: E402
from taskq_django.models import Schedule  # noqa: E402

TYPED = [
    datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), date(2026, 1, 2), timedelta(days=1, microseconds=1), Decimal("1.10"),
    UUID(int=5), b"\xff", {1, 2}, (1, "é"), 2**70, {"a": [None, 1.5]},
]  # fmt: skip


def where() -> str:
    return str(taskq_django.__file__)


def enqueue(name: str, args: list[Any], queue: str, delay: float | None = None) -> str:
    run_after = None if delay is None else timedelta(seconds=delay)
    task: Any = getattr(tasks, name).using(queue_name=queue, run_after=run_after)
    return str(task.enqueue(*args).id)


def enqueue_many(name: str, calls: list[list[Any]], queue: str) -> list[str]:
    return [result.id for result in getattr(tasks, name).using(queue_name=queue).enqueue_many(map(tuple, calls))]


def enqueue_typed(queue: str) -> str:
    return str(tasks.echo.using(queue_name=queue).enqueue(TYPED).id)


def is_typed(id_: str, timeout: float) -> bool:
    return bool(_result(id_).get(timeout) == TYPED)


def get(id_: str, timeout: float) -> Any:
    return _result(id_).get(timeout)


def story(id_: str) -> dict[str, Any]:
    result = _result(id_)
    errors = [error.exception_class_path for error in result.errors]
    return {"state": str(result.state), "attempts": result.attempts, "errors": errors, "reason": result.reason}


def cancel(id_: str) -> bool:
    return bool(_result(id_).cancel("no more"))


def retry(id_: str) -> None:
    _result(id_).retry()


def command(*words: str) -> str:
    said = StringIO()
    call_command(*words, stdout=said)
    return said.getvalue()


def pages(id_: str) -> dict[str, int]:
    """The answers of the admin to a superuser."""
    user, _ = User.objects.get_or_create(username="admin", is_superuser=True, is_staff=True)
    client = Client()
    client.force_login(user)
    lists = ("queuedjob", "jobresult", "schedule")
    wanted = [reverse(f"admin:taskq_django_{name}_changelist") for name in lists]
    return {url: client.get(url).status_code for url in [*wanted, reverse("admin:taskq_django_job", args=[id_])]}


def schedule(name: str, file: str, queue: str) -> None:
    """One that is due in a moment, and once."""
    Schedule.objects.create(
        name=name,
        task_path="shop.tasks.note",
        args=[file],
        queue_name=queue,
        kind="interval",
        spec="1 second",
        max_runs=1,
    )


def _result(id_: str) -> Any:
    return tasks.echo.get_backend().get_result(id_)


def main() -> None:
    for line in sys.stdin:
        verb, arguments = json.loads(line)
        try:
            answer = {"value": globals()[verb](*arguments)}
        except (Exception, SystemExit) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)  # noqa: T201 - what was asked for


if __name__ == "__main__":
    main()
