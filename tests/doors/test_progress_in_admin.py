"""How far a running job is, on its page and in the list."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from taskq_django.models import JobProgress, QueuedJob
from taskq_django.models.moments import DatabaseNow
from taskq_django.states import State
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.schedule_pages import user

pytestmark = pytest.mark.django_db

QUEUED = "admin:taskq_django_queuedjob_changelist"


def running(done: float = 312, total: float | None = 1000, text: str = "<b>rows</b>") -> str:
    """The id of a job that runs and has said so."""
    id_ = tasks.add.enqueue(1).id
    QueuedJob.objects.filter(pk=id_).update(status=State.RUNNING, worker_id="w", claimed_at=DatabaseNow(), attempts=1)
    JobProgress.objects.create(job_id=id_, attempt=1, done=done, total=total, text=text, updated_at=DatabaseNow())
    return id_


def page(client: Client, id_: str, query: str = "") -> str:
    return client.get(reverse("admin:taskq_django_job", args=[id_]) + query).content.decode()


def test_the_page_of_a_running_job_shows_how_far_it_is(admin_client: Client) -> None:
    shown = page(admin_client, running())
    assert '<progress value="0.3120"' in shown
    assert "312 of 1,000" in shown
    assert "&lt;b&gt;rows&lt;/b&gt;" in shown
    assert "<b>rows</b>" not in shown
    assert 'id="taskq-live"' in shown
    assert "live.js" in shown


def test_it_renews_the_part_that_changes(admin_client: Client) -> None:
    id_ = running()
    JobProgress.objects.update(done=1000)
    shown = page(admin_client, id_, "?_fragment=1")
    assert "1,000 of 1,000" in shown
    assert "<html" not in shown
    QueuedJob.objects.update(status=State.READY)
    run_all()
    assert "It has ended: load the page again" in page(admin_client, id_, "?_fragment=1")


def test_a_whole_that_is_not_known_is_no_bar_that_lies(admin_client: Client) -> None:
    shown = page(admin_client, running(0.5, None, ""))
    assert "<progress aria-label" in shown
    assert "0.5" in shown


def test_what_a_task_says_is_for_those_who_may_see_payloads() -> None:
    id_ = running(text="order of Ann Smith")
    shown = page(user("view_queuedjob"), id_)
    assert "312 of 1,000" in shown
    assert "Ann Smith" not in shown
    assert "Ann Smith" not in page(user("view_queuedjob"), id_, "?_fragment=1")


def test_the_part_that_changes_is_for_those_who_may_see_the_page() -> None:
    address = reverse("admin:taskq_django_job", args=[running()]) + "?_fragment=1"
    assert user("view_jobresult").get(address).status_code == 403


def test_a_job_that_has_ended_or_said_nothing_has_no_bar(admin_client: Client) -> None:
    id_ = tasks.add.enqueue(1).id
    assert "<progress" not in page(admin_client, id_)
    run_all()
    shown = page(admin_client, id_)
    assert "<progress" not in shown
    assert "live.js" not in shown


def test_the_list_says_how_far_each_is_by_one_query(admin_client: Client, django_assert_max_num_queries: Any) -> None:
    for done in (1, 2, 3):
        running(done, 3)
    with django_assert_max_num_queries(11) as captured:
        shown = admin_client.get(reverse(QUEUED)).content.decode()
    for done in (1, 2, 3):
        assert f"{done} of 3" in shown
    assert sum("jobprogress" in query["sql"] for query in captured.captured_queries) == 1
