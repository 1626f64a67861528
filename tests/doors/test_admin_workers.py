"""The page of workers, and what may be asked of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError, connections
from django.test import Client
from django.urls import reverse

from taskq_django import control
from taskq_django.compat import task_backends
from taskq_django.models import QueuedJob, Request, WorkerProcess, WorkerRequest, WorkerState
from taskq_django.models.moments import DatabaseNow
from tests.app import tasks
from tests.support.schedule_pages import texts, user

pytestmark = pytest.mark.django_db

EVIL = "<script>alert(1)</script>"
PAGE, ACT = (f"admin:taskq_django_workerprocess_{what}" for what in ("changelist", "act"))


def worker(id_: str = "w/1", *, age: float = 0, database: str = "default", **more: Any) -> WorkerProcess:
    """One with a process of its own."""
    given = {
        "name": "web-1",
        "host": "web",
        "pid": 4711,
        "started_at": DatabaseNow(-7200),
        "seen_at": DatabaseNow(-age),
    }
    rows = WorkerProcess.objects.using(database)
    row = rows.create(id=id_, **{**given, "serving": 1, "state": "SERVING", **more})
    rows.create(id=f"{id_}/child", supervisor=row, **given)
    return row


def shown(client: Client, **address: str) -> str:
    answer = client.get(reverse(PAGE), address)
    assert answer.status_code == 200
    return answer.content.decode()


def ask(client: Client, verb: str, id_: str = "w/1", **more: str) -> Any:
    return client.post(reverse(ACT), {"worker": id_, "verb": verb, **more}, follow=True)


def test_a_worker_is_shown_with_all_that_it_tells(admin_client: Client) -> None:
    worker(version="1.2.3", threads=8, coroutines=200, busy=3, memory=61, queues="mail", excluded="")
    page = shown(admin_client)
    for text in ("web-1", "web", "4711", "1.2.3", "of 8 + 200 async", "61&nbsp;MiB", "mail", "Serving", "2\xa0h"):
        assert text in page


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"age": 3600}, "Lost"),
        ({"serving": 0}, "No process can run jobs"),
        ({"state": WorkerState.QUIET}, "Quiet"),
        ({"state": WorkerState.STOPPING}, "Stopping"),
        ({"state": "", "version": ""}, "Serving"),
    ],
    ids=["lost", "unable", "quiet", "stopping", "of a release before"],
)
def test_its_state_is_a_word(admin_client: Client, given: dict[str, Any], word: str) -> None:
    worker(**given)
    assert f">{word}</span>" in shown(admin_client)


def test_what_its_processes_hold_is_under_it(admin_client: Client) -> None:
    worker()
    job = tasks.add.enqueue(1)
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    broker.claim(["default"], 1, "w/1/child")

    page = shown(admin_client)
    assert reverse("admin:taskq_django_job", args=[job.id]) in page
    assert "tests.app.tasks.add" in page
    assert reverse("admin:taskq_django_job", args=[job.id]) not in shown(user("view_workerprocess"))


def test_a_job_whose_claim_has_no_moment_is_shown_without_its_age(admin_client: Client) -> None:
    worker()
    job = tasks.add.enqueue(1)
    QueuedJob.objects.filter(pk=job.id).update(status="RUNNING", worker_id="w/1/child", claimed_at=None)
    assert job.id in shown(admin_client)


def test_without_workers_the_page_says_how_to_start_one(admin_client: Client) -> None:
    assert "manage.py taskq_worker" in shown(admin_client)


def test_a_worker_is_asked_by_a_row_of_its_own(admin_client: Client) -> None:
    row = worker()
    before = WorkerProcess.objects.values().get(id=row.id)

    page = ask(admin_client, "quiet").content.decode()

    assert WorkerRequest.objects.get().request == Request.QUIET
    assert WorkerProcess.objects.values().get(id=row.id) == before
    assert "asked to be quiet" in page
    assert "Serve again" in page
    assert LogEntry.objects.get().change_message == "Asked to be quiet."
    ask(admin_client, "serve")
    assert not WorkerRequest.objects.exists()


def test_a_stop_is_asked_for_twice(admin_client: Client) -> None:
    worker()
    assert "Are you sure?" in ask(admin_client, "stop").content.decode()
    assert not WorkerRequest.objects.exists()
    ask(admin_client, "stop", sure="yes")
    assert WorkerRequest.objects.get().request == Request.STOP
    for verb in ("quiet", "serve"):  # it stops: that is not taken back
        ask(admin_client, verb)
        assert WorkerRequest.objects.get().request == Request.STOP


@pytest.mark.parametrize(("id_", "verb"), [("gone", "quiet"), ("w/1/child", "quiet"), ("w/1", "explode"), ("w/1", "")])
def test_what_cannot_be_asked_is_refused(admin_client: Client, id_: str, verb: str) -> None:
    worker()
    answer = ask(admin_client, verb, id_)
    assert len(texts(answer)) == 1
    assert not WorkerRequest.objects.exists()
    assert not LogEntry.objects.exists()


def test_a_viewer_sees_no_button(admin_client: Client) -> None:
    worker()
    assert "<button" not in shown(user("view_workerprocess"), _fragment="1")
    assert shown(admin_client).count('name="verb"') == 2


def test_names_by_another_hand_are_escaped(admin_client: Client) -> None:
    worker(EVIL, name=EVIL, host=EVIL, queues=EVIL, excluded=EVIL, version=EVIL[:20], backends="", state=EVIL[:10])
    WorkerRequest.objects.create(worker_id=EVIL, request="x", asked_at=DatabaseNow())
    page = shown(admin_client)
    assert EVIL not in page
    assert "&lt;script&gt;" in page


def test_the_part_that_changes_comes_alone(admin_client: Client) -> None:
    worker()
    part = shown(admin_client, _fragment="1")
    assert "web-1" in part
    assert "<html" not in part


def test_a_worker_of_the_release_before_is_not_offered_what_it_does_not_hear(admin_client: Client) -> None:
    worker(state="", version="")
    assert 'name="verb"' not in shown(admin_client)
    assert "no worker w/1 any more that could be asked" in texts(ask(admin_client, "quiet"))[0]
    assert not WorkerRequest.objects.exists()


of_two_databases = pytest.mark.django_db(databases=["default", "other"])


@pytest.fixture
def two_databases(settings: Any) -> None:
    """One worker serves both."""
    backend = {"BACKEND": "taskq_django.TaskqBackend"}
    settings.TASKS = {"default": backend, "far": {**backend, "OPTIONS": {"broker": "database://other"}}}
    for database in ("default", "other"):
        worker(database=database)


Away = Callable[[str], None]


@pytest.fixture
def one_away(monkeypatch: pytest.MonkeyPatch) -> Away:
    """Has the store in a database not answer any more; sessions and the log are elsewhere."""

    def go(database: str) -> None:
        def refuse(execute: Any, sql: str, *given: Any) -> Any:
            if "taskq_django_" in sql:
                raise OperationalError("connection refused")
            return execute(sql, *given)

        monkeypatch.setattr(connections[database], "execute_wrappers", [refuse])

    return go


@of_two_databases
@pytest.mark.usefixtures("two_databases")
@pytest.mark.parametrize("database", ["default", "other"])
def test_it_is_one_worker_with_what_it_was_asked_in_either(admin_client: Client, database: str) -> None:
    assert control.ask_worker("w/1", Request.QUIET, database)
    page = shown(admin_client)
    assert page.count('title="w/1"') == 1
    assert "Serve again" in page
    ask(admin_client, "serve")
    assert not WorkerRequest.objects.using(database).exists()
    assert "Serve again" not in shown(admin_client)
    assert LogEntry.objects.count() == 1


@of_two_databases
@pytest.mark.usefixtures("two_databases")
@pytest.mark.parametrize("database", ["default", "other"])
def test_while_one_is_away_the_page_says_so(admin_client: Client, one_away: Away, database: str) -> None:
    one_away(database)
    page = shown(admin_client)
    assert "the database does not answer: connection refused" in page
    assert page.count('title="w/1"') == 1


@of_two_databases
@pytest.mark.usefixtures("two_databases")
def test_while_one_is_away_it_is_asked_in_the_other(admin_client: Client, one_away: Away) -> None:
    one_away("default")
    ask(admin_client, "stop", sure="yes")
    assert WorkerRequest.objects.using("other").get().request == Request.STOP
    assert LogEntry.objects.get().change_message == "Asked to stop."
    [said] = texts(ask(admin_client, "serve"))
    assert said == "default: the database does not answer: connection refused"
