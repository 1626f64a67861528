"""A connection that broke half-way is replaced; nothing stays "in an atomic block"."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connections

from taskq_django.brokers.base import Broker
from taskq_django.compat import task_backends
from taskq_django.exceptions import BrokerUnavailable
from taskq_django.store.connections import own_transaction

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
