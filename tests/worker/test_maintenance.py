"""When a supervisor looks after what every worker does for all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from taskq_django import control
from taskq_django.compat import task_backends
from taskq_django.models import JobCounts, PausedQueue
from taskq_django.models.moments import as_orm_has
from taskq_django.store.counts import BUCKETS, HOUR
from taskq_django.worker import maintenance as maintenance_module
from taskq_django.worker.maintenance import Maintenance
from tests.support.workers import wait_for


@pytest.mark.django_db
def test_a_pause_that_is_over_is_ended() -> None:
    broker: Any = task_backends["default"].broker  # type: ignore[attr-defined]
    control.pause("mail", broker, seconds=-1)
    control.pause("video", broker)
    lease: Any = SimpleNamespace(is_held=True, database="default", bury=lambda: None, burial_in=lambda: 60.0)
    maintenance = Maintenance([], [lease], every=0.01)  # type: ignore[arg-type]
    wait_for(lambda: maintenance.seconds_left() == 0)
    maintenance.turn("me")
    assert PausedQueue.objects.get().queue_name == "video"


@pytest.mark.django_db
def test_counts_of_processes_that_have_ended_become_one_row() -> None:
    long_ago = as_orm_has(datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5))
    times = [0] * BUCKETS
    counts = f'[["default","q","t",[1,0,0,0],{times},{times}]]'
    for name in ("w1", "w2"):
        JobCounts.objects.create(worker_id=name, seconds=HOUR, begins_at=long_ago, counts=counts)
    lease: Any = SimpleNamespace(is_held=True, database="default", bury=lambda: None, burial_in=lambda: 60.0)
    maintenance = Maintenance([], [lease], every=0.0)  # type: ignore[arg-type]
    maintenance.turn("me")
    assert JobCounts.objects.get().worker_id.startswith("several/")


def test_while_the_store_is_away_the_supervisor_sleeps_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(maintenance_module, "monotonic", lambda: now[0])
    leases: Any = [SimpleNamespace(is_held=False)]
    maintenance = Maintenance([], leases, every=0.05)
    now[0] += 0.05
    assert maintenance.seconds_left() == 0
    maintenance.turn("me")
    assert maintenance.seconds_left() > 0
