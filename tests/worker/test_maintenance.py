"""When a supervisor looks after what every worker does for all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from taskq_django.worker.maintenance import Maintenance
from tests.support.workers import wait_for


def test_while_the_store_is_away_the_supervisor_sleeps_between_two_looks() -> None:
    leases: Any = [SimpleNamespace(is_held=False)]
    maintenance = Maintenance([], leases, every=0.05)
    wait_for(lambda: maintenance.seconds_left() == 0)
    maintenance.turn("me")
    assert maintenance.seconds_left() > 0
