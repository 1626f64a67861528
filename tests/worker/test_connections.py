"""A connection that broke half-way is replaced; nothing stays "in an atomic block"."""

from __future__ import annotations

import multiprocessing
import threading
from typing import Any

import pytest
from django.db import OperationalError, connections

from taskq_django.brokers.base import Broker
from taskq_django.compat import task_backends
from taskq_django.exceptions import BrokerUnavailable
from taskq_django.store.connections import own_transaction
from taskq_django.worker.blackboard import Blackboard
from taskq_django.worker.connections import UpkeepExecutor
from taskq_django.worker.executor import Executor
from taskq_django.worker.options import WorkerOptions
from taskq_django.worker.runners import Surroundings, Threads
from taskq_django.worker.starter import Starter
from tests.support.workers import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broker() -> Broker:
    return task_backends["default"].broker  # type: ignore[attr-defined,no-any-return]


def test_a_connection_that_breaks_as_a_block_is_entered_is_replaced(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What Django makes of a connection that was lost while it was being made: not in autocommit.
    def lost(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("gone away")

    broker.ready_queues()
    connection = connections["default"]
    connection.autocommit = False
    with monkeypatch.context() as broken:
        broken.setattr(connection, "savepoint", lost)
        broken.setattr(connection, "create_cursor", lost)
        with pytest.raises(BrokerUnavailable):
            broker.release_unanswered("w1", [])

    assert not connection.in_atomic_block
    assert broker.ready_queues() == []
    with own_transaction("default"):
        assert connection.in_atomic_block
    assert not connection.in_atomic_block


def test_what_a_thread_has_open_to_brokers_is_closed_at_its_end_and_before_a_fork(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(type(broker), "close", lambda self: closed.append(threading.current_thread().name))

    board = Blackboard(multiprocessing.get_context("spawn"), 1)
    lane = Threads(1, Surroundings(Executor("w1", {"default": 1}), lambda outcome: None, board, lambda claim: None))
    lane.close()
    of_coroutines = UpkeepExecutor(max_workers=1, thread_name_prefix="calls")
    of_coroutines.close()
    wait_for(lambda: {"taskq-1", "calls_0"} <= set(closed))
    before = len(closed)
    with Starter(WorkerOptions(name="w", backends=("default",))).ready():
        assert threading.current_thread().name in closed[before:]
