"""Tasks for the tests of the kit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction

from taskq_django import Backoff, Discard, Retry, cron, every, task


@task
def charge(order_id: int, amount: int, note: str = "") -> dict[str, Any]:
    if amount < 0:
        raise ValueError("less than nothing")
    return {"order": order_id, "amount": amount}


@task
def report() -> None:
    pass


@task
async def areport(number: int) -> int:
    return number


@task(store_result=False)
def forgetful() -> str:
    return "forgotten"


@task
def announcing() -> None:
    with transaction.atomic():
        transaction.on_commit(report.enqueue)


@task
def asked(when: datetime) -> int:
    return when.year


@task
def choosy() -> None:
    raise Discard("not today")


@task(max_attempts=3)
def patient() -> None:
    raise Retry(delay=60)


@task(max_attempts=3, backoff=Backoff(first=60, jitter=False))
def patient_with_errors() -> str:
    return "done"


@task(expires=60)
def fresh() -> None:
    pass


@task(rerun_on_crash=False)
def once() -> None:
    pass


@task(schedule=cron("0 3 * * *", timezone="Europe/Berlin", name="kit night"))
def nightly() -> None:
    pass


@task(schedule=every(hours=1))
def often() -> None:
    pass


@task
def clashing() -> None:
    for _ in range(2):
        Group.objects.create(name="the same")
