"""The dashboard: how it stands, on one page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.urls import NoReverseMatch, reverse

from taskq_django import control, traffic
from taskq_django.admin.pages import base
from taskq_django.compat import task_backends
from taskq_django.exceptions import BrokerUnavailable
from taskq_django.models import JobResult, QueuedJob, StoreIdentity, WorkerProcess
from taskq_django.models.moments import DatabaseNow
from taskq_django.store.counts import Kind, Spans, Tally
from taskq_django.store.pruning import first_id
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.schedule_pages import raw, schedule, user

pytestmark = pytest.mark.django_db

URL = "admin:taskq_django_dashboard_changelist"
EVIL = "<script>alert(1)</script>"


def shown(client: Client, **address: str) -> str:
    answer = client.get(reverse(URL), address)
    assert answer.status_code == 200
    return answer.content.decode()


def cards(page: str) -> dict[str, str]:
    found = re.findall(r'taskq-value">(.*?)</span> <span class="taskq-label">(.*?)</span>', page)
    return {label: value for value, label in found}


def banners(page: str) -> list[str]:
    found = re.findall(r'<p class="taskq-banner[^>]*>(.*?)</p>', page, re.DOTALL)
    return [" ".join(unescape(re.sub("<[^>]*>", "", text)).split()) for text in found]


def serve(database: str = "default", **more: Any) -> None:
    given = {"name": "w", "host": "h", "pid": 1, "started_at": DatabaseNow(), "seen_at": DatabaseNow(), "serving": 1}
    WorkerProcess.objects.using(database).create(id="w", **{**given, **more})


def test_it_is_the_first_of_the_section(admin_client: Client) -> None:
    page = admin_client.get(reverse("admin:app_list", args=["taskq_django"])).content.decode()
    names = re.findall(r'<a href="/admin/taskq_django/(\w+)/"[^>]*>', page.partition('id="content-main"')[2])
    assert names[0] == "dashboard"
    assert {"queue", "registeredtask", "workerprocess"} < set(names)


def test_six_cards_lead_to_their_lists(admin_client: Client) -> None:
    serve()
    tasks.add.enqueue_many([(1,), (2,)])
    tasks.add.using(run_after=timedelta(hours=1)).enqueue(3)
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    broker.claim(["default"], 1, "w/1")

    page = shown(admin_client)

    told = cards(page)
    assert re.fullmatch(r"\d+\xa0s", told.pop("Oldest waits for"))
    assert told == {"Ready": "1", "Running": "1", "Scheduled": "1", "Failed, 24 h": "0", "Workers alive": "1"}
    for status in ("READY", "RUNNING", "SCHEDULED"):
        assert f"/queuedjob/?status={status}" in page
    assert "/jobresult/?status=FAILED" in page
    assert banners(page) == []


def test_failures_are_seen_at_once_and_grouped_by_cause(admin_client: Client) -> None:
    tasks.explode.enqueue()
    tasks.explode.enqueue()
    tasks.leave.enqueue("system exit")
    run_all()

    page = shown(admin_client)

    assert cards(page)["Failed, 24 h"] == "3"
    rows = re.findall(r'title="(tests\.app[^"]*)".*?title="([^"]*)".*?<td class="taskq-number">(\d+)</td>', page)
    assert rows == [("tests.app.tasks.explode", "KeyError", "2"), ("tests.app.tasks.leave", "SystemExit", "1")]
    assert "/jobresult/?status=FAILED&amp;task=tests.app.tasks.explode&amp;q=error%3AKeyError" in page


def test_without_a_worker_a_banner_says_what_to_type(admin_client: Client) -> None:
    tasks.add.enqueue(1)
    assert banners(shown(admin_client)) == ["No worker is alive, and 1 job waits. python manage.py taskq_worker"]
    serve(seen_at=DatabaseNow(-3600))
    assert banners(shown(admin_client))[0].startswith("No worker is alive")


def test_a_worker_that_can_run_nothing_is_told_of(admin_client: Client) -> None:
    serve(serving=0)
    assert banners(shown(admin_client)) == ["No process of w can run jobs: see the log of the worker."]


def test_a_queue_that_nobody_serves_is_told_of(admin_client: Client) -> None:
    serve(excluded="mail")
    for queue in ("mail", "default"):
        tasks.add.using(queue_name=queue).enqueue(1)
    assert banners(shown(admin_client)) == [
        "Jobs wait in a queue that no worker serves: mail. python manage.py taskq_worker -Q mail"
    ]
    control.pause("mail", task_backends["default"].broker)  # type: ignore[attr-defined]
    assert banners(shown(admin_client)) == []


def test_schedules_that_are_late_or_broken_are_told_of(admin_client: Client) -> None:
    serve()
    raw(schedule(name="late"), next_run_at=datetime.now(UTC) - timedelta(minutes=5))
    raw(schedule(name="broken"), broken="its task is gone")
    schedule(name="off", enabled=False)
    page = shown(admin_client)
    assert banners(page) == [
        "No beat is alive, so nothing fires the 2 schedules that are enabled. python manage.py taskq_worker -B",
        "1 schedule is overdue.",
        "1 schedule is broken.",
    ]
    StoreIdentity.objects.update(beat_seen_at=DatabaseNow())
    assert banners(shown(admin_client))[:-1] == [
        "1 schedule is overdue. A beat is alive: its log says what keeps it from firing them."
    ]
    assert "/schedule/?state=broken" in page


def test_a_broker_that_is_away_is_a_banner_and_the_rest_is_shown(
    admin_client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = {"BACKEND": "taskq_django.TaskqBackend"}
    settings.TASKS = {"away": backend, "default": backend}
    serve()
    tasks.add.enqueue(1)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise BrokerUnavailable("the engine is away")

    monkeypatch.setattr(task_backends["away"].broker, "depth", refuse)
    page = shown(admin_client)
    assert banners(page) == ["away: the engine is away"]
    assert cards(page)["Ready"] == "1"


@pytest.mark.parametrize("error", ["connection refused", "no such table: taskq_django_jobresult"])
def test_while_the_store_is_away_the_page_says_so_and_tells_no_figure_of_it(admin_client: Client, error: str) -> None:
    """Sessions and the log may be elsewhere; before ``migrate`` they are there, and our tables are not."""
    schedule(name="nightly-report")

    def refuse(execute: Any, sql: str, *given: Any) -> Any:
        if '"taskq_django_' in sql or "`taskq_django_" in sql:
            raise OperationalError(error)
        return execute(sql, *given)

    with connection.execute_wrapper(refuse):
        page = shown(admin_client)
    assert error in banners(page)[0]
    assert cards(page)["Failed, 24 h"] == "–"
    assert "nightly-report" not in page


def test_a_site_without_schedules_and_results_shows_them_without_links(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule(name="nightly-report")
    tasks.explode.enqueue()
    run_all()
    absent = ("schedule_", "jobresult_")

    def reversed_(name: str, *args: Any, **kwargs: Any) -> str:
        if any(f":taskq_django_{each}" in name for each in absent):
            raise NoReverseMatch(name)
        return reverse(name, *args, **kwargs)

    monkeypatch.setattr(base, "reverse", reversed_)
    page = shown(admin_client)
    assert "nightly-report" in page
    assert 'href=""' not in page


@pytest.mark.django_db(databases=["default", "other"])
def test_a_worker_of_two_databases_is_one(admin_client: Client, settings: Any) -> None:
    backend = {"BACKEND": "taskq_django.TaskqBackend"}
    settings.TASKS = {"default": backend, "far": {**backend, "OPTIONS": {"broker": "database://other"}}}
    for database in ("default", "other"):
        serve(database)
    tasks.add.enqueue(1)
    assert cards(shown(admin_client))["Workers alive"] == "1"
    queues = admin_client.get(reverse("admin:taskq_django_queue_changelist")).context["rows"]
    assert {row.listeners for row in queues} == {1}


@pytest.mark.parametrize("name", ["1h", "24h", "7d", "hostile"])
def test_the_chart_tells_its_numbers_in_a_table_too(admin_client: Client, name: str) -> None:
    Spans("w", "default").add({Kind("default", "q", "t"): Tally(ends=[41, 3, 2, 1])})
    page = shown(admin_client, range=name)
    assert len(re.findall("<g>", page)) == {"24h": 24, "7d": 28}.get(name, 60)
    assert len(re.findall('<rect class="taskq-bar-', page)) == 4
    assert "41 succeeded, 3 failed, 2 retried" in " ".join(page.split())
    assert page.count('<td class="taskq-number">41</td>') == 1
    assert " style=" not in page.partition('id="content-main"')[2]


def test_what_is_enqueued_is_told_beside_what_ends(admin_client: Client) -> None:
    """Of the last full minutes, whether it waits or has ended."""
    sent = tasks.add.enqueue_many([(n,) for n in range(5)])
    run_all(limit=2)
    begin = first_id(datetime.now(UTC).timestamp() - 180).int
    for number, job in enumerate(sent):
        for model in (QueuedJob, JobResult):
            model._default_manager.filter(id=job.id).update(id=UUID(int=begin + number))
    tasks.add.enqueue(6)  # this minute is not full yet

    page = shown(admin_client)

    enqueued = re.search(r"Enqueued <span[^>]*>a minute</span></dt><dd><bdi>(.*?)</bdi></dd>", page)
    assert enqueued
    assert enqueued[1] == "1.0"
    assert 'Ended <span class="taskq-muted">a minute</span></dt><dd><bdi>–</bdi></dd>' in page


def test_no_more_than_so_many_that_were_enqueued_are_counted(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "MOST_ENQUEUED", 4)
    tasks.add.enqueue_many([(n,) for n in range(5)])
    assert traffic.enqueued(["default"], datetime.now(UTC) + timedelta(minutes=2)) == (0.8, True)
    assert traffic.enqueued(["default"], datetime.now(UTC) + timedelta(hours=1)) == (0.0, False)


def test_without_counts_the_chart_says_so(admin_client: Client) -> None:
    assert "Nothing has ended in this time." in shown(admin_client)


def test_each_part_is_for_who_may_see_its_list() -> None:
    serve(name="web-worker")
    schedule(name="nightly-report")
    tasks.explode.enqueue()
    run_all()
    tasks.add.using(queue_name="mail").enqueue(1)
    names = {
        "view_workerprocess": "web-worker",
        "view_schedule": "nightly-report",
        "view_jobresult": "tests.app.tasks.explode",
        "view_queue": ">mail<",
    }
    for permission, name in names.items():
        page = shown(user("view_dashboard", permission))
        assert [each for each in names.values() if each in page] == [name]
    page = shown(user("view_dashboard"))
    assert not any(name in page for name in names.values())
    assert cards(page)["Failed, 24 h"] == "–"


def test_names_by_another_hand_are_escaped(admin_client: Client) -> None:
    serve(name=EVIL, queues=EVIL)
    raw(schedule(), name=EVIL, task_path=EVIL, broken=EVIL)
    Spans(EVIL, "default").add({Kind(EVIL, EVIL, EVIL): Tally(ends=[1, 1, 1, 1])})
    job = tasks.add.enqueue(1)
    QueuedJob.objects.filter(id=job.id).update(queue_name=EVIL)
    failed = tasks.explode.enqueue()
    run_all()
    JobResult.objects.filter(id=failed.id).update(task_path=EVIL, exception_class=EVIL)
    page = shown(admin_client)
    assert EVIL not in page
    assert page.count("&lt;script&gt;") >= 5


def test_it_costs_few_queries(admin_client: Client, django_assert_max_num_queries: Any) -> None:
    serve()
    schedule()
    with django_assert_max_num_queries(12):
        shown(admin_client)
