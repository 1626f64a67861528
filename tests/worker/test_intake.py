"""When a loop listens for bells."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from taskq_django.jobs import Claim
from taskq_django.sleeper import Bell
from taskq_django.worker.intake import Intake


class Ringing(Bell):
    """It rings until it is asked, and then once more."""

    fd = 42

    def rang(self) -> bool:
        return True

    def patience(self, idle: float) -> float:
        return 1.0


class Holding(list[str]):
    room, weight = 100, 0

    def take(self, claims: list[Claim]) -> None:
        self.extend(claim.job.id for claim in claims)


def intake(holding: Holding, bell: Bell) -> Intake:
    """Of a process with one seat, whose queues are empty."""
    broker = SimpleNamespace(alias="default", bells=lambda: [bell])
    reach: Any = SimpleNamespace(here=lambda: [broker], has=lambda alias: True)
    fetcher: Any = SimpleNamespace(has_candidates=True, fetch=lambda wanted: [])
    pool: Any = SimpleNamespace(seats=1, has_backlog=False, waiting=lambda: 0)
    finisher: Any = SimpleNamespace(aside=0, unrun=0, mean_run=1.0, mean_weight=0.0)
    options: Any = SimpleNamespace(batch=10, max_tasks=None, max_tasks_per_child=None, burst=False)
    made = Intake(reach, fetcher, pool, cast("Any", holding), finisher, options)
    made.hang_bells()
    return made


def test_a_process_without_room_is_not_kept_awake_by_a_bell_that_it_cannot_answer() -> None:
    holding = Holding(["a job"])
    full = intake(holding, Ringing())
    assert full.fds == [42]

    full.fetch(0.0)
    assert full.fds == []

    holding.clear()
    full.fetch(0.0)
    assert full.fds == [42]
