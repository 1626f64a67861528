"""The pages of queues, workers and the dashboard where jobs wait in a Redis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from taskq_django.brokers import Broker
from taskq_django.compat import task_backends
from taskq_django.models import WorkerProcess
from taskq_django.models.moments import DatabaseNow
from tests.app import tasks
from tests.support.schedule_pages import arguments
from tests.support.sending import unused_name
from tests.support.usage import takes_at_most

if TYPE_CHECKING:
    from tests.support.redis_servers import Redis

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = ("dashboard", "queue", "workerprocess", "registeredtask")


@pytest.fixture
def broker(redis_server: Redis, settings: Settings) -> Iterator[Broker]:
    options = {"broker": redis_server.url, "name": unused_name()}
    settings.TASKS = {"default": {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": options}}
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    yield broker
    broker.close()


@pytest.fixture
def worker(transactional_db: None) -> str:
    """The id of a process of one."""
    given: dict[str, Any] = {"name": "w", "host": "h", "pid": 1, "started_at": DatabaseNow(), "seen_at": DatabaseNow()}
    row = WorkerProcess.objects.create(id="w", serving=1, **given)
    return str(WorkerProcess.objects.create(id="w/1", supervisor=row, **given).id)


def shown(client: Client, model: str) -> str:
    answer = client.get(reverse(f"admin:taskq_django_{model}_changelist"))
    assert answer.status_code == 200
    return answer.content.decode()


def test_what_waits_there_is_counted_and_purged(broker: Broker, worker: str, admin_client: Client) -> None:
    tasks.add.using(queue_name="mail").enqueue_many([(n,) for n in range(3)])

    assert '<span class="taskq-value">3</span>' in shown(admin_client, "dashboard")
    assert '<td class="taskq-number">3</td>' in shown(admin_client, "queue")
    answer = admin_client.post(
        reverse("admin:taskq_django_queue_purge"), {"backend": "default", "queue": "mail", "typed": "mail"}, follow=True
    )
    assert "3 jobs were removed." in answer.content.decode()
    assert broker.depth() == []


def test_what_a_worker_holds_from_there_is_under_it(broker: Broker, worker: str, admin_client: Client) -> None:
    job = tasks.add.enqueue(1)
    assert broker.claim(["default"], 1, worker)
    assert reverse("admin:taskq_django_job", args=[job.id]) in shown(admin_client, "workerprocess")


@pytest.mark.parametrize("how", ["frozen", "down"])
def test_while_it_is_away_the_pages_say_so(
    broker: Broker, worker: str, redis_server: Redis, admin_client: Client, how: str
) -> None:
    redis_server.freeze() if how == "frozen" else redis_server.kill()
    try:
        pages: dict[str, str] = {}
        for model in PAGES:
            assert takes_at_most(3.5, lambda: pages.update({model: shown(admin_client, model)})), model  # noqa: B023
    finally:
        redis_server.thaw() if how == "frozen" else redis_server.start()
    for model in ("dashboard", "queue", "workerprocess"):
        assert "cannot be reached" in pages[model], model


def test_what_could_not_be_enqueued_is_not_noted_as_enqueued(
    broker: Broker, redis_server: Redis, admin_client: Client
) -> None:
    there = reverse("admin:taskq_django_registeredtask_run", args=[tasks.add.module_path])
    redis_server.kill()
    try:
        answer = admin_client.post(there, arguments(x="1"))
    finally:
        redis_server.start()
    assert answer.context["form"].non_field_errors()
    assert not LogEntry.objects.exists()
