"""Who may count whom as lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from taskq_django.models import WorkerProcess
from taskq_django.worker import lease as lease_module
from taskq_django.worker.lease import Lease

pytestmark = pytest.mark.django_db(transaction=True)

EVERY, LASTS = 1.0, 3.0


class Clock:
    """Of the process; it goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease_module, "monotonic", clock)
    return clock


@pytest.fixture
def steady(clock: Clock) -> Lease:
    """Of a worker that has given signs of life for longer than a lease."""
    lease = Lease("me", ["default"], every=EVERY, lasts=LASTS, described={"backends": "default"})
    lease.register()
    for _ in range(5):
        clock.now += EVERY
        assert lease.renew()
    return lease


@pytest.fixture
def silent(transactional_db: None) -> str:
    """A worker that has given none for longer, with one process."""
    then = timezone.now() - timedelta(seconds=2 * LASTS)
    common: dict[str, Any] = {"name": "silent", "host": "there", "pid": 1, "started_at": then, "seen_at": then}
    WorkerProcess.objects.create(id="silent", **common)
    WorkerProcess.objects.create(id="silent/1", supervisor_id="silent", **common)
    return "silent"


def rows(name: str) -> int:
    return WorkerProcess.objects.filter(name=name).count()


def test_a_silent_worker_is_counted_as_lost_with_its_processes(steady: Lease, silent: str) -> None:
    steady.bury()
    assert rows(silent) == 0


def test_who_has_not_been_steady_for_a_lease_counts_nobody_as_lost(clock: Clock, silent: str) -> None:
    lease = Lease("me", ["default"], every=EVERY, lasts=LASTS, described={"backends": "default"})
    lease.register()
    clock.now += EVERY
    assert lease.renew()
    lease.bury()
    assert rows(silent) == 2


def test_who_could_not_renew_for_a_lease_counts_nobody_as_lost(steady: Lease, clock: Clock, silent: str) -> None:
    clock.now += 2 * LASTS
    assert steady.renew()
    steady.bury()
    assert rows(silent) == 2


def test_an_answer_that_took_a_lease_counts_nobody_as_lost(steady: Lease, clock: Clock, silent: str) -> None:
    """A server that stalled as it was asked has taken no sign of life of anybody meanwhile."""

    def stall(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith("SELECT"):
            clock.now += 2 * LASTS
        return execute(sql, params, many, context)

    with connection.execute_wrapper(stall):
        steady.bury()
    assert rows(silent) == 2
