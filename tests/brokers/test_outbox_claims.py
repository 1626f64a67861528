"""A row that stands in for a message runs only where the engine is surely without it."""

from __future__ import annotations

import pytest

from taskq_django.brokers.base import Broker
from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.brokers.database.outbox import Outbox
from taskq_django.brokers.messages.broker import MessageBroker
from taskq_django.brokers.messages.memory import MemoryTransport
from taskq_django.brokers.messages.transport import HOLDER
from taskq_django.models import QueuedJob, WorkerProcess
from taskq_django.worker.maintenance import GONE
from taskq_django.worker.rescue import settle_dead
from tests.support.messages import register
from tests.support.sending import job

pytestmark = pytest.mark.django_db

SENDER = "0198c0de-0000-7000-8000-000000000001"
ME, LOST, ANOTHER = "host/me", "host/lost", "another/worker"


def lose(broker: Broker) -> None:
    """Every process that is not registered was lost with its host."""
    for worker, held in broker.orphans(ME).items():
        settle_dead(broker, worker, held, GONE)


@pytest.mark.parametrize("is_lost", [False, True], ids=["", "its first holder was lost with its host"])
def test_a_row_whose_message_is_there_gives_way_to_it(is_lost: bool) -> None:
    """The answer of the publish was lost, so the sender has left the row."""
    rows, engine = DatabaseBroker("default"), MemoryTransport()
    broker = MessageBroker("default", rows, engine, has_outbox=True)
    sent = job()
    Outbox(rows).stand_in([sent], SENDER)
    engine.publish([sent], 1.0)
    QueuedJob.objects.update(status="READY")
    if is_lost:
        assert rows.claim(["default"], 1, LOST)
        lose(rows)
    register(ME)
    engine.join(ME)

    claims = [claim for _ in range(3) for claim in broker.claim(["default"], 10, ME)]

    assert [(claim.job.id, claim.receipt) for claim in claims] == [(sent.id, f"{HOLDER}{ME}")]


def test_a_message_is_run_again_whose_holder_is_lost_after_the_host_with_its_row() -> None:
    rows, engine = DatabaseBroker("default"), MemoryTransport()
    broker = MessageBroker("default", rows, engine, has_outbox=True)
    sent = job()
    Outbox(rows).stand_in([sent], SENDER)
    engine.publish([sent], 1.0)
    register(ANOTHER)
    engine.join(ANOTHER)
    (message,) = engine.claim("default", 1, ANOTHER)  # it is about to run
    QueuedJob.objects.update(status="READY")
    assert rows.claim(["default"], 1, LOST)
    lose(broker)
    register(ME)
    engine.join(ME)

    assert broker.claim(["default"], 10, ME) == [], "the row gives way to the message"
    WorkerProcess.objects.filter(id=ANOTHER).delete()
    lose(broker)

    (again,) = [claim for _ in range(3) for claim in broker.claim(["default"], 10, ME)]
    assert again.job.id == message.job.id
