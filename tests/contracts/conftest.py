"""The brokers that keep the contract: the database's, and one for each transport, over the database of the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from taskq_django.brokers import Broker
from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.brokers.kombu.redis import RedisTransport
from taskq_django.brokers.messages import wishes
from taskq_django.brokers.messages.broker import MessageBroker
from taskq_django.brokers.messages.memory import MemoryTransport
from taskq_django.compat import task_backends
from taskq_django.conf import BackendOptions
from taskq_django.store.identity import store_id
from tests.support.redis_servers import Redis, empty, started_or_skipped
from tests.support.sending import unused_name

LIKE_OTHERS = ("memory", "memory with an outbox", "redis with an outbox", "celery", "celery with an outbox")
KINDS = ["database", "redis", *(pytest.param(kind, marks=pytest.mark.thorough) for kind in LIKE_OTHERS)]

# What cannot be kept in Celery's form: it has four priorities, writes arguments in its own way, and gives no id a key.
NOT_IN_CELERYS_FORM = {
    "test_what_comes_first_is_claimed_first_though_a_backlog_was_begun",
    "test_higher_priority_goes_first_and_older_first_within_one",
    "test_order_holds_over_several_claims",
    "test_peek_shows_what_would_be_claimed_next_and_changes_nothing",
    "test_hostile_text_travels_unchanged",
    "test_cancel_says_what_came_of_each",
}


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    server = started_or_skipped()
    yield server
    server.remove()


OPTIONS: dict[str, dict[str, Any]] = {
    "database": {},
    "redis": {},
    "redis with an outbox": {"outbox": True},
    "celery": {"celery_compatible": True},
}


@pytest.fixture(
    params=[
        each if each in ("database", "redis") else pytest.param(each, marks=pytest.mark.thorough) for each in OPTIONS
    ]
)
def project(
    request: pytest.FixtureRequest, transactional_db: None, patient_transports: None, settings: Settings
) -> Iterator[Broker]:
    """The broker of a project's default backend: what its tasks are enqueued to, and ``run_all`` runs."""
    options = dict(OPTIONS[request.param])
    if request.param != "database":
        server: Redis = request.getfixturevalue("redis_server")
        empty(server)
        options |= {"broker": server.url, "name": unused_name()}
    settings.TASKS = {"default": {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": options}}
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    yield broker
    broker.close()


@pytest.fixture(params=KINDS)
def broker(
    request: pytest.FixtureRequest,
    transactional_db: None,
    patient_transports: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Broker]:
    monkeypatch.setattr(wishes, "LOOK_AGAIN", 0.0)  # what was wished a moment ago is seen
    kind, _, outbox = request.param.partition(" ")
    if kind == "celery" and request.function.__name__ in NOT_IN_CELERYS_FORM:
        pytest.skip("not in Celery's form")
    if kind in ("redis", "celery"):
        server: Redis = request.getfixturevalue("redis_server")
        empty(server)
        rows, transport = (
            DatabaseBroker("default"),
            RedisTransport.opened(
                "default",
                BackendOptions(broker=server.url, celery_compatible=kind == "celery"),
                lambda: store_id("default"),
            ),
        )
        broker = MessageBroker("default", rows, transport, has_outbox=bool(outbox))
        yield broker
        broker.close()
    elif kind == "memory":
        yield MessageBroker("default", DatabaseBroker("default"), MemoryTransport(), has_outbox=bool(outbox))
    else:
        yield DatabaseBroker("default")
