"""What a worker process holds, for tests of its parts."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence

from taskq_django.brokers import Broker
from taskq_django.jobs import Claim
from taskq_django.worker.blackboard import Blackboard
from taskq_django.worker.finisher import Finisher
from taskq_django.worker.held import Held
from taskq_django.worker.reach import Reach


def a_board(lines: int = 1) -> Blackboard:
    return Blackboard(multiprocessing.get_context("spawn"), lines)


def finishing(broker: Broker) -> Finisher:
    """The finisher of a process that serves this broker alone."""
    brokers = {broker.alias: broker}
    return Finisher(brokers, Reach(brokers, a_board()), "w1")


def holding(claims: Sequence[Claim]) -> Held:
    held = Held(a_board(len(claims)))
    held.take(claims)
    return held


def answers_again(finisher: Finisher, alias: str = "default") -> None:
    """It is time to try the broker that was away."""
    finisher._reach.begin_trials(all_of_them=True)
    finisher.take_up(alias)
