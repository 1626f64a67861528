"""The lists of jobs and the page of one, as somebody reads and uses them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from taskq_django import task
from taskq_django.models import JobAttempt, JobResult, QueuedJob
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.looks import cut_boxes, faint_texts, lines_of_rows

Opened = Callable[..., Any]
RESULTS = "admin:taskq_django_jobresult_changelist"
QUEUED = "admin:taskq_django_queuedjob_changelist"
FITS = "document.documentElement.scrollWidth <= window.innerWidth"
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/shop/tasks.py", line 31, in send_invoice
    answer = requests.post(PRINTER, json={"order": order}, timeout=5)
  File "/srv/venv/lib/python3.13/site-packages/requests/api.py", line 115, in post
    return request("post", url, data=data, json=json, **kwargs)
  File "/srv/venv/lib/python3.13/site-packages/requests/adapters.py", line 688, in send
    raise ConnectTimeout(e, request=request)
requests.exceptions.ConnectTimeout: HTTPSConnectionPool(host='printer.example', port=443): Read timed out.
"""


@task
def send_invoice(order: int, copies: int = 1) -> None:
    raise TimeoutError("the printer does not answer")


def some_jobs() -> str:
    """Of all kinds; returns the id of one that failed."""
    tasks.add.enqueue_many([(number,) for number in range(12)])
    tasks.explode.enqueue()
    tasks.log_in.enqueue("ann", "hunter2", options={"remember": True, "from": "x" * 100}, pin="1234")
    failed = send_invoice.enqueue(4711, copies=2)
    run_all()
    QueuedJob.objects.all().delete()
    sent = JobResult.objects.get(task_path=tasks.explode.module_path)
    error = {"exception_class": "requests.exceptions.ConnectTimeout", "message": TRACEBACK.splitlines()[-1]}
    JobAttempt.objects.filter(job_id=sent.id).update(traceback=TRACEBACK, **error)
    JobResult.objects.filter(id=sent.id).update(
        task_path="shop.tasks.send_invoice",
        payload='[[],{"order":4711,"copies":2}]',
        headers='{"sensitive":{"names":[],"parameters":["order","copies"]}}',
        **error,
    )
    tasks.add.using(run_after=timedelta(hours=3), priority=50).enqueue(1)
    tasks.flaky.using(queue_name="a-queue-with-a-long-name-" + "x" * 30).enqueue(5)
    for _ in range(3):
        tasks.add.using(priority=-10, queue_name="mail").enqueue(2)
    tasks.add.enqueue(3).cancel("the order was withdrawn")
    assert failed.id
    return str(sent.id)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", [RESULTS, QUEUED], ids=["results", "queued"])
def test_all_of_a_list_is_seen_and_read(
    opened: Opened, photographed: Callable[[Any, str], None], name: str, theme: str
) -> None:
    some_jobs()
    page = opened(reverse(name), theme=theme)
    assert max(lines_of_rows(page, "#result_list tbody tr")) <= 2.2
    assert cut_boxes(page, ".results") == []
    assert faint_texts(page) == []
    assert page.evaluate(FITS)
    photographed(page, f"jobs-{'results' if name == RESULTS else 'queued'}-{theme}")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_of_a_failed_job_is_read(opened: Opened, photographed: Callable[[Any, str], None], theme: str) -> None:
    id_ = some_jobs()
    page = opened(reverse("admin:taskq_django_job", args=[id_]), theme=theme)
    assert faint_texts(page) == []
    assert page.evaluate(FITS)
    photographed(page, f"job-{theme}")
    page.get_by_text("2 frames of libraries").click()
    page.get_by_text("raise ConnectTimeout").wait_for()


@pytest.mark.parametrize("width", [600, 390])
def test_a_narrow_window_scrolls_no_page_sideways(opened: Opened, width: int) -> None:
    id_ = some_jobs()
    for address in (reverse(RESULTS), reverse(QUEUED), reverse("admin:taskq_django_job", args=[id_])):
        page = opened(address)
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(FITS), address


def test_a_traceback_is_copied_whole(opened: Opened) -> None:
    id_ = some_jobs()
    page = opened(reverse("admin:taskq_django_job", args=[id_]))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".taskq-traceback").get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").strip() == TRACEBACK.strip()


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
def test_a_failed_job_is_retried_from_its_page(opened: Opened, javascript: bool) -> None:
    sent = tasks.explode.enqueue()
    run_all()
    page = opened(reverse("admin:taskq_django_job", args=[sent.id]), javascript=javascript)
    page.get_by_role("button", name="Retry", exact=True).press("Enter")
    page.get_by_text("1 job will run again.").wait_for()
    sent.refresh()
    assert sent.state == "READY"
    page.get_by_text("Reschedule…").press("Enter")
    page.get_by_label("When").fill("2031-01-01T10:00:00")
    page.get_by_role("button", name="Reschedule", exact=True).click()
    page.get_by_text("1 job has a new time.").wait_for()
    sent.refresh()
    assert sent.state == "SCHEDULED"


def test_what_is_chosen_in_a_list_is_done(opened: Opened) -> None:
    some_jobs()
    page = opened(reverse(RESULTS))
    page.get_by_role("link", name="Failed").click()
    page.wait_for_url("**status=FAILED")
    page.locator("#action-toggle").check()
    page.get_by_label("Action:").select_option("Retry")
    page.locator(".actions button").first.click()
    page.get_by_text("jobs will run again.").wait_for()
    assert not JobResult.objects.filter(status="FAILED").exists()


def test_a_job_is_enqueued_again_with_changes(opened: Opened) -> None:
    sent = tasks.add.enqueue(1)
    run_all()
    page = opened(reverse("admin:taskq_django_job", args=[sent.id]))
    page.get_by_role("link", name="Enqueue a copy").click()
    assert faint_texts(page) == []
    page.get_by_label("x", exact=False).first.fill("41")
    page.get_by_role("button", name="Enqueue").click()
    page.get_by_text("This is the new job").wait_for()
    assert QueuedJob.objects.get().payload == '[[],{"x":41}]'


def test_a_list_without_jobs_says_what_to_do(opened: Opened) -> None:
    page = opened(reverse(RESULTS))
    page.get_by_text("manage.py taskq_worker").wait_for()
    assert faint_texts(page) == []
