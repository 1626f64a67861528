"""When a job leaves for the engine: with the last commit of the transactions that it was enqueued in, and once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime

import pytest
from django.db import transaction

from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.brokers.messages.breaker import Breaker
from taskq_django.brokers.messages.memory import MemoryTransport
from taskq_django.brokers.messages.publishing import Publisher
from taskq_django.exceptions import BrokerUnavailable
from taskq_django.jobs import Job
from tests.support.sending import job
from tests.support.workers import wait_for

pytestmark = pytest.mark.django_db(databases=["default", "other"], transaction=True)


class Engine(MemoryTransport):
    """Notes what is published together; ``error``: it is away."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[list[str]] = []
        self.error: BrokerUnavailable | None = None
        self.asked = 0

    def publish(self, jobs: Sequence[Job], within: float) -> datetime:
        self.asked += 1
        if self.error:
            raise self.error
        self.published.append([job.task_path for job in jobs])
        return super().publish(jobs, within)

    def queues(self) -> list[str]:
        if self.error:
            raise self.error
        return super().queues()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def publisher(engine: Engine) -> Publisher:
    return Publisher(engine, Breaker(engine), DatabaseBroker("default"), None)


class Undone(Exception):
    pass


@contextmanager
def undone(using: str = "default") -> Iterator[None]:
    """A transaction, or a savepoint, that is rolled back."""
    with suppress(Undone), transaction.atomic(using=using):
        yield
        raise Undone


def sends(publisher: Publisher) -> Callable[..., object]:
    return lambda *names: publisher.send([job(task_path=name) for name in names])


def test_outside_of_a_transaction_it_leaves_at_once(publisher: Publisher, engine: Engine) -> None:
    publisher.send([job(task_path="a"), job(task_path="b")])
    assert engine.published == [["a", "b"]]


def test_all_jobs_of_a_transaction_leave_together_at_its_commit(publisher: Publisher, engine: Engine) -> None:
    send = sends(publisher)
    with transaction.atomic():
        for name in "abc":
            send(name)
        assert engine.published == []
    assert engine.published == [["a", "b", "c"]]


def test_what_is_rolled_back_never_leaves(publisher: Publisher, engine: Engine) -> None:
    send = sends(publisher)
    with undone():
        send("a")
    with transaction.atomic():
        send("b")
    assert engine.published == [["b"]]


def test_savepoints_decide_for_their_own_jobs(publisher: Publisher, engine: Engine) -> None:
    send = sends(publisher)
    with transaction.atomic():
        send("a")
        with undone():
            send("undone")
            with transaction.atomic():
                send("released inside what is undone")
        send("b")
        with transaction.atomic():
            send("c")
        send("d")
    assert engine.published == [["a", "b", "c", "d"]]


def test_a_thousand_savepoints_are_one_publish(publisher: Publisher, engine: Engine) -> None:
    send = sends(publisher)
    with transaction.atomic():
        for number in range(1000):
            with transaction.atomic():
                send(str(number))
    assert engine.published == [[str(number) for number in range(1000)]]


@pytest.mark.parametrize(("outer", "inner"), [("default", "other"), ("other", "default")])
def test_of_two_databases_the_last_commit_decides(publisher: Publisher, engine: Engine, outer: str, inner: str) -> None:
    send = sends(publisher)
    with transaction.atomic(using=outer):
        with transaction.atomic(using=inner):
            send("a")
        assert engine.published == []
        with undone(inner):
            send("undone")
        send("b")
    with undone(outer), transaction.atomic(using=inner):
        send("committed inside, undone outside")
    with transaction.atomic(using=inner):
        send("c")
    assert engine.published == [["a", "b"], ["c"]]


def test_it_leaves_before_a_callback_of_the_project_that_raises(publisher: Publisher, engine: Engine) -> None:
    send = sends(publisher)
    with suppress(Undone), transaction.atomic():

        def breaks() -> None:
            raise Undone

        transaction.on_commit(breaks)
        send("a")
    assert engine.published == [["a"]]


def test_what_a_callback_enqueues_leaves_at_once(publisher: Publisher, engine: Engine) -> None:
    send = sends(publisher)
    with transaction.atomic():
        transaction.on_commit(lambda: send("b"))
        send("a")
    assert engine.published == [["a"], ["b"]]


def test_an_engine_that_is_away_keeps_no_job_of_another(publisher: Publisher, engine: Engine) -> None:
    away = Engine()
    away.error = BrokerUnavailable("The engine is away.", known=True)
    others = Publisher(away, Breaker(away), DatabaseBroker("default"), None)

    def enqueue() -> None:
        with transaction.atomic():
            sends(others)("x")
            sends(publisher)("a")
            sends(others)("y")

    with pytest.raises(BrokerUnavailable, match="committed, and 2 jobs of it not sent: The engine is away"):
        enqueue()
    assert engine.published == [["a"]]


def test_who_is_told_knows_whether_the_end_is_known(publisher: Publisher, engine: Engine) -> None:
    engine.error = BrokerUnavailable("No answer.", known=False)
    with (
        pytest.raises(BrokerUnavailable, match="whether 1 job of it left is not known") as caught,
        transaction.atomic(),
    ):
        sends(publisher)("a")
    assert not caught.value.known


def test_a_breaker_answers_at_once_until_the_engine_is_back(publisher: Publisher, engine: Engine) -> None:
    send = sends(publisher)
    engine.error = BrokerUnavailable("No answer.", known=False)
    for _ in range(100):
        with pytest.raises(BrokerUnavailable):
            send("a")
    assert engine.asked == 1, "the others were told without asking"
    engine.error = None

    def sent() -> bool:
        with suppress(BrokerUnavailable):
            send("b")
            return True
        return False

    wait_for(sent)


def test_an_engine_that_answers_and_is_full_is_asked_each_time(publisher: Publisher, engine: Engine) -> None:
    engine.error = BrokerUnavailable("It is full.", known=True, answers=True)
    for _ in range(3):
        with pytest.raises(BrokerUnavailable, match="full"):
            sends(publisher)("a")
    assert engine.asked == 3


def test_threads_have_transactions_of_their_own(publisher: Publisher, engine: Engine) -> None:
    send = sends(publisher)
    with transaction.atomic():
        send("mine")
        thread = threading.Thread(target=send, args=("theirs",))
        thread.start()
        thread.join()
        assert engine.published == [["theirs"]]
    assert engine.published == [["theirs"], ["mine"]]


def test_a_bulk_leaves_in_parts_by_count_and_by_bytes(publisher: Publisher, engine: Engine) -> None:
    publisher.send([job(task_path=str(number)) for number in range(2500)])
    assert [len(part) for part in engine.published] == [1000, 1000, 500]
    engine.published.clear()
    publisher.send([job(payload=f'[["{"x" * (1 << 20)}"],{{}}]') for _ in range(6)])
    assert [len(part) for part in engine.published] == [3, 3]
