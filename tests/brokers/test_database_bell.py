"""A Redis that wakes the workers of a database: after the commit, and at nobody's cost when it is away."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

redis = pytest.importorskip("redis")

from taskq_django.brokers import Broker  # noqa: E402
from taskq_django.brokers.kombu import database_bell  # noqa: E402
from taskq_django.compat import task_backends  # noqa: E402
from taskq_django.jobs import Job  # noqa: E402
from taskq_django.sleeper import Bell, Sleeper  # noqa: E402
from tests.support.redis_servers import Redis, eventually, running  # noqa: E402
from tests.support.usage import takes_at_most  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    server = Redis()
    with running(server):
        yield server


@pytest.fixture
def broker(settings: Any) -> Iterator[Callable[[str], Broker]]:
    """The broker of a backend whose bell is this URL."""
    made: list[Broker] = []

    def make(url: str) -> Broker:
        settings.TASKS = {"default": {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": {"bell": url}}}
        made.append(task_backends["default"].broker)  # type: ignore[attr-defined]
        return made[-1]

    yield make
    for each in made:
        each.close()


def job(**fields: Any) -> Job:
    return Job(str(uuid4()), "tests.app.tasks.add", '{"args":[1],"kwargs":{}}', "default", "default", **fields)


def hung(broker: Broker) -> Bell:
    """Its bell of Redis, which has heard all there was."""
    bell = broker.bells()[-1]
    assert bell.rang()  # the first time: what came before rang for nobody
    eventually(bell.rang)  # that it is heard
    return bell


def sleeps_through(bell: Bell, seconds: float = 0.2) -> bool:
    sleeper = Sleeper()
    try:
        fd = bell.fd
        assert fd is not None
        woken = sleeper.sleep(seconds, [fd])
        return not bell.rang() and not woken
    finally:
        sleeper.close()


def test_a_job_rings_once_its_transaction_is_committed(broker: Callable[[str], Broker], server: Redis) -> None:
    ours = broker(server.url)
    bell = hung(ours)
    with transaction.atomic():
        ours.send([job()])
        assert sleeps_through(bell)

    eventually(bell.rang)
    assert sleeps_through(bell)
    bell.close()


def test_a_job_that_shall_run_now_rings(broker: Callable[[str], Broker], server: Redis) -> None:
    ours = broker(server.url)
    bell = hung(ours)
    later = job(delay_us=60_000_000)
    ours.send([later])
    assert ours.reschedule([job().id], None) == set()
    assert sleeps_through(bell)

    assert ours.reschedule([later.id], None) == {later.id}
    eventually(bell.rang)
    bell.close()


def test_a_job_rings_without_a_transaction_and_not_after_a_rollback_nor_before_it_is_due(
    broker: Callable[[str], Broker], server: Redis
) -> None:
    ours = broker(server.url)
    bell = hung(ours)
    with transaction.atomic():
        ours.send([job()])
        transaction.set_rollback(True)
    ours.send([job(delay_us=60_000_000)])
    assert sleeps_through(bell)

    ours.send([job()])
    eventually(bell.rang)
    bell.close()


def test_every_worker_hears_and_those_of_another_alias_do_not(
    broker: Callable[[str], Broker], server: Redis, settings: Any
) -> None:
    ours = broker(server.url)
    bells = [hung(ours), hung(ours)]
    settings.TASKS = {
        alias: {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": {"bell": server.url}}
        for alias in ("default", "strange")
    }
    strange = task_backends["strange"].broker  # type: ignore[attr-defined]
    bells_elsewhere = [hung(strange)]

    ours.send([job()])

    for bell in bells:
        eventually(bell.rang)
    assert all(sleeps_through(bell) for bell in bells_elsewhere)
    for bell in bells + bells_elsewhere:
        bell.close()
    strange.close()


def test_a_bell_that_is_away_costs_a_sender_less_than_a_second_once_and_is_told_to_nobody(
    broker: Callable[[str], Broker], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(database_bell, "monotonic", lambda: now[0])

    def levels() -> list[str]:
        return [record.levelname for record in caplog.records if record.name.startswith("taskq_django")]

    with socket.create_server(("127.0.0.1", 0)) as mute, caplog.at_level(logging.DEBUG, "taskq_django"):
        ours = broker(f"redis://:hunter2@127.0.0.1:{mute.getsockname()[1]}/0")

        def first() -> None:
            now[0] += 60
            ours.send([job()])

        assert takes_at_most(1.5, first)  # of a busy machine
        tried = len(levels())
        for _ in range(20):
            with transaction.atomic():
                ours.send([job()])

    assert levels() == ["DEBUG"] * tried, "nobody else has waited for it"
    assert ours.depth()[0].ready == tried + 20
    assert "hunter2" not in caplog.text


def test_a_loop_goes_on_while_its_bell_is_away_and_hears_it_when_it_is_back(
    broker: Callable[[str], Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq_django.brokers.kombu.database_bell.LONGEST_PAUSE", 0.05)
    server = Redis()
    with running(server):
        ours = broker(server.url)
        bell = hung(ours)
        server.kill()
        eventually(lambda: not bell.rang() and bell.fd is None)
        assert bell.patience(60) == 1.0
        ours.send([job()])
        server.start()

        eventually(bell.rang)  # for what came while it was away
        assert bell.fd is not None
        eventually(lambda: sleeps_through(bell))
        ours.send([job()])
        eventually(bell.rang)
        bell.close()


def test_the_bell_of_the_database_is_still_there(broker: Callable[[str], Broker], server: Redis) -> None:
    first, second = broker(server.url).bells()

    assert type(first) is not type(second)
    first.close()
