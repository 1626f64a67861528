"""The list of queued jobs, with what waits in an engine, as somebody reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.urls import reverse
from pytest_django import Settings

from taskq_django import control
from taskq_django.brokers import Broker
from taskq_django.compat import task_backends
from tests.app import tasks
from tests.support.looks import faint_texts
from tests.support.sending import job, unused_name

if TYPE_CHECKING:
    from tests.support.redis_servers import Redis

Opened = Callable[..., Any]
OURS = "taskq_django.TaskqBackend"


@pytest.fixture
def broker(redis_server: Redis, settings: Settings, transactional_db: None) -> Iterator[Broker]:
    settings.TASKS = {"default": {"BACKEND": OURS, "OPTIONS": {"broker": redis_server.url, "name": unused_name()}}}
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    yield broker
    broker.close()


def some_jobs(broker: Broker) -> None:
    broker.send([job(queue_name="imports", payload=f"[[{number}],{{}}]") for number in range(1200)])
    tasks.add.using(queue_name="mail", priority=50).enqueue(1)
    broker.send(
        [
            job(
                queue_name="a-queue-with-a-name-that-is-as-long-as-names-may-be-at-most-here",
                task_path="shop.warehouse.deliveries.tasks.no_longer_there_and_long_besides_" + "x" * 100,
                payload='[["' + "long " * 60 + '"],{"password":"hunter2"}]',
            )
        ]
    )
    for hours in (1, 30):
        tasks.add.using(run_after=timedelta(hours=hours)).enqueue(hours)
    control.pause("imports", broker)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_waits_in_an_engine_is_above_the_rows(broker: Broker, opened: Opened, theme: str) -> None:
    some_jobs(broker)

    page = opened(reverse("admin:taskq_django_queuedjob_changelist"), theme=theme, javascript=False)

    engine = page.locator(".taskq-engine")
    assert engine.get_by_role("row").count() == 1 + 3 + 1 + 12
    assert page.locator("#result_list tbody tr").count() == 2
    assert engine.bounding_box()["y"] < page.locator("#result_list").bounding_box()["y"]
    assert faint_texts(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    engine.get_by_role("link").first.click()
    page.wait_for_url("**/job/**")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_engine_that_is_away_is_a_line(broker: Broker, redis_server: Redis, opened: Opened, theme: str) -> None:
    some_jobs(broker)
    redis_server.kill()

    page = opened(reverse("admin:taskq_django_queuedjob_changelist"), theme=theme)

    page.locator(".taskq-problem", has_text="cannot be reached").wait_for()
    assert page.locator("#result_list tbody tr").count() == 2
    assert faint_texts(page) == []


def test_a_narrow_window_scrolls_the_tables_and_not_the_page(broker: Broker, opened: Opened) -> None:
    some_jobs(broker)
    page = opened(reverse("admin:taskq_django_queuedjob_changelist"))
    page.set_viewport_size({"width": 420, "height": 900})

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
