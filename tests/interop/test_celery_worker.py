"""A real worker of Celery runs what we publish."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from taskq_django.codec import encode_call
from tests.interop.conftest import CeleryWorker
from tests.support.sending import job

VALUES = [1, "é", b"\xff", datetime(2026, 1, 2, tzinfo=UTC), date(2026, 1, 2), time(3), Decimal("1.10"), UUID(int=5)]


@pytest.fixture
def transport(server: Any, patient_transports: None) -> Iterator[Any]:
    from taskq_django.brokers.kombu.celery_redis import CeleryRedisTransport
    from taskq_django.brokers.kombu.connection import RedisConnection

    transport = CeleryRedisTransport(
        "fast", RedisConnection(server.url), lambda: "a store", queue_names=lambda: ["default"], max_payload=1 << 20
    )
    yield transport
    transport.close()


def test_a_worker_of_celery_runs_our_job_with_all_its_arguments(
    transport: Any, start_celery: Callable[..., CeleryWorker]
) -> None:
    payload = encode_call(VALUES, {"x": [VALUES]})
    sent = job(payload=payload, priority=-40, tries=2, headers='{"metadata":{"tenant":3}}', expires_us=60_000_000)
    transport.publish([sent], 3)

    (run,) = start_celery("default").wait_for_runs(1)

    assert (run["id"], run["task"], run["retries"], run["priority"]) == (sent.id, sent.task_path, 2, 6)
    assert run["call"] == repr((tuple(VALUES), {"x": [VALUES]}))
    assert datetime.fromisoformat(run["expires"]) > datetime.now(UTC)


def test_a_worker_of_celery_lives_on_whatever_we_publish(
    transport: Any, start_celery: Callable[..., CeleryWorker]
) -> None:
    jobs = [job(payload=json.dumps([[number], {}]), priority=priority) for number, priority in enumerate((0, 50, -100))]
    expired, unknown = job(expires_us=0), job(task_path="nowhere.tasks.none")
    worker = start_celery("default")
    transport.publish([expired, unknown, *jobs], 3)

    runs = worker.wait_for_runs(3)

    assert sorted(run["id"] for run in runs) == sorted(each.id for each in jobs)
    assert not worker.is_dead


def test_what_a_worker_of_ours_gives_back_a_worker_of_celery_runs(
    transport: Any, start_celery: Callable[..., CeleryWorker]
) -> None:
    sent = job(priority=-70)
    transport.join("worker-1")
    transport.publish([sent], 3)
    transport.release(transport.claim("default", 10, "worker-1"))

    (run,) = start_celery("default").wait_for_runs(1)

    assert (run["id"], run["priority"]) == (sent.id, 9)
