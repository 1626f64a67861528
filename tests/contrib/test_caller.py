"""What surrounds a caller surrounds the job: language, time zone, ids of the request and the tenant."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import AppConfig
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils import timezone, translation

from taskq_django import Retry, signals, task
from taskq_django.contrib.caller import request_id, tenant_id
from taskq_django.contrib.caller.middleware import RequestIdMiddleware
from taskq_django.models import QueuedJob, Schedule
from taskq_django.states import State
from taskq_django.testing import run_all
from tests.app import tasks

pytestmark = pytest.mark.django_db

UID = "taskq_django.contrib.caller"

around: list[dict[str, str | None]] = []


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    around.clear()
    AppConfig.create(UID).ready()
    yield
    signals.before_enqueue.disconnect(dispatch_uid=UID)
    signals.before_run.disconnect(dispatch_uid=UID)


def note(then: int = 0, again: bool = False) -> None:
    around.append(
        {
            "language": translation.get_language(),
            "time_zone": timezone.get_current_timezone_name(),
            "request_id": request_id.get(),
            "tenant_id": tenant_id.get(),
        }
    )
    if again and len(around) == 1:
        raise Retry(delay=0)
    if then:
        task(note).enqueue(then - 1)


async def anote() -> None:
    note()


@pytest.fixture
def surrounded() -> Iterator[dict[str, str]]:
    tokens = request_id.set("r-1"), tenant_id.set("acme")
    with translation.override("de"), timezone.override("Asia/Tokyo"):
        yield {"language": "de", "time_zone": "Asia/Tokyo", "request_id": "r-1", "tenant_id": "acme"}
    request_id.reset(tokens[0])
    tenant_id.reset(tokens[1])


def outside() -> dict[str, str | None]:
    note()
    return around.pop()


@pytest.mark.parametrize("function", [note, anote])
def test_a_job_runs_in_what_surrounded_its_caller(surrounded: dict[str, str], function: Any) -> None:
    task(function).enqueue()
    with translation.override("en-us"), timezone.override("UTC"):
        ids = request_id.set(""), tenant_id.set("")
        before = outside()
        run_all()
        after = outside()
        request_id.reset(ids[0])
        tenant_id.reset(ids[1])
    assert around == [surrounded]
    assert before == after, "it ends with the job"


def test_what_a_job_enqueues_has_it_too(surrounded: dict[str, str]) -> None:
    task(note).enqueue(then=2)
    run_all()
    assert around == [surrounded] * 3


def test_a_retry_has_it_too(surrounded: dict[str, str]) -> None:
    task(note, max_attempts=3).enqueue(again=True)
    run_all()
    run_all()
    assert around == [surrounded] * 2


def test_each_of_many_has_it(surrounded: dict[str, str]) -> None:
    task(note).enqueue_many([(0,), (0,)])
    run_all()
    assert around == [surrounded] * 2


def test_a_caller_with_nothing_of_its_own_costs_the_job_nothing() -> None:
    tasks.add.enqueue(1)
    assert QueuedJob.objects.get().headers == ""


def test_the_job_of_a_schedule_runs_in_the_zone_of_its_schedule(surrounded: dict[str, str], taskq: Any) -> None:
    registered = task(note)
    schedule = Schedule.objects.create(
        name="night", task_path=registered.module_path, kind="interval", spec="1 minute", timezone="Asia/Kolkata"
    )
    taskq.advance(to=schedule.next_run_at)
    taskq.tick(schedule)
    with translation.override("fr"), timezone.override("UTC"):
        run_all()
    assert [(each["time_zone"], each["language"]) for each in around] == [("Asia/Kolkata", "fr")]


@pytest.mark.parametrize(
    "caller",
    [5, "x", [], {"language": 5}, {"language": "xx-nowhere"}, {"time_zone": "Mars/Base"}, {"time_zone": "../../etc"}],
)
def test_what_nobody_can_put_on_is_left_out(caller: Any, caplog: pytest.LogCaptureFixture) -> None:
    def ask(headers: dict[str, Any], **given: Any) -> None:
        headers["caller"] = caller

    signals.before_enqueue.connect(ask)
    task(note).enqueue()
    signals.before_enqueue.disconnect(ask)
    assert json.loads(QueuedJob.objects.get().headers)["caller"] == caller
    with caplog.at_level(logging.WARNING):
        run_all()
    assert around == [outside()]


def get_response(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request_id.get())


async def aget_response(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request_id.get())


def asked(header: str | None, *, is_async: bool) -> HttpResponse:
    request = RequestFactory(headers={} if header is None else {"X-Request-ID": header}).get("/")
    if not is_async:
        return RequestIdMiddleware(get_response)(request)  # type: ignore[return-value]

    async def ask() -> HttpResponse:
        return await RequestIdMiddleware(aget_response)(request)  # type: ignore[misc]

    return asyncio.run(ask())


@pytest.mark.parametrize("headers", ['["caller"]', '{"caller" 1', '"caller"', "caller"])
def test_headers_by_another_hand_fail_no_job(headers: str) -> None:
    job = task(note).enqueue()
    QueuedJob.objects.filter(pk=job.id).update(headers=headers)
    run_all()
    job.refresh()
    assert job.state is State.SUCCESSFUL


def test_an_id_that_is_no_text_is_carried_as_one() -> None:
    token = tenant_id.set(5)  # type: ignore[arg-type]
    task(note).enqueue()
    tenant_id.reset(token)
    run_all()
    assert around[0]["tenant_id"] == "5"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_request_has_the_id_that_it_came_with(is_async: bool) -> None:
    response = asked("abc-1.2:3", is_async=is_async)
    assert (response.content, response.headers["X-Request-ID"]) == (b"abc-1.2:3", "abc-1.2:3")
    assert request_id.get() == ""


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("header", [None, "", "two words", "x" * 129, "a\x1b[31m", "ö"])
def test_a_request_without_a_right_one_is_given_one(header: str | None, is_async: bool) -> None:
    response = asked(header, is_async=is_async)
    assert len(response.content) == 36
    assert response.headers["X-Request-ID"] == response.content.decode()
