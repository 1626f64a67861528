"""The dashboard, queues, workers and tasks, as somebody reads and uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from taskq_django.models import JobResult, PausedQueue, QueuedJob, WorkerProcess, WorkerRequest
from taskq_django.models.moments import DatabaseNow
from taskq_django.testing import run_all
from tests.app import signatures, tasks  # noqa: F401 - registered by that
from tests.support.busy_day import a_busy_day
from tests.support.looks import faint_texts

Opened = Callable[..., Any]
PAGES = ("dashboard", "queue", "workerprocess", "registeredtask")


def url(model: str, what: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:taskq_django_{model}_{what}", args=args)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 600])
@pytest.mark.parametrize("model", PAGES)
def test_each_page_can_be_read(
    opened: Opened,
    photographed: Callable[[Any, str], None],
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    width: int,
    theme: str,
) -> None:
    a_busy_day(monkeypatch)
    page = opened("/admin/", theme=theme)
    page.set_viewport_size({"width": width, "height": 1000})
    page.goto(page.url.partition("/admin/")[0] + url(model))
    page.locator("#taskq-live").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert faint_texts(page) == []
    if (model, width) == ("dashboard", 1400):
        photographed(page, f"{model}-{theme}")


@pytest.mark.parametrize("model", PAGES)
def test_each_page_is_whole_without_javascript(opened: Opened, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    a_busy_day(monkeypatch)
    page = opened(url(model), javascript=False)
    assert page.locator("#taskq-live table").count() >= 1
    assert page.locator(".taskq-refresh").count() == 0


def test_the_dashboard_renews_itself_until_it_is_paused(opened: Opened) -> None:
    page = opened(url("dashboard"))
    ready = page.locator(".taskq-value").first
    assert ready.text_content() == "0"
    tasks.add.enqueue(1)
    first = page.locator(".taskq-cards li").first
    first.get_by_text("1", exact=True).wait_for()

    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Go on").wait_for()
    tasks.add.enqueue(2)
    assert ready.text_content() == "1"
    page.get_by_role("button", name="Go on").click()
    first.get_by_text("2", exact=True).wait_for()


@pytest.mark.parametrize("javascript", [True, False])
def test_a_queue_is_paused_and_resumed_and_purged(opened: Opened, javascript: bool) -> None:
    tasks.add.using(queue_name="mail").enqueue(1)
    page = opened(url("queue"), javascript=javascript)
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="mail"))
    row.locator("summary").click()
    row.get_by_label("How long").select_option(label="for an hour")
    row.get_by_label("Reason").fill("the provider is down")
    row.locator(".taskq-pause").get_by_role("button", name="Pause").click()
    page.get_by_text("mail is paused.").wait_for()
    assert PausedQueue.objects.get().reason == "the provider is down"
    row.get_by_role("button", name="Resume").click()
    page.get_by_text("mail goes on.").wait_for()

    row.get_by_role("button", name="Purge").click()
    page.get_by_label("to confirm").fill("mail")
    page.get_by_role("button", name="Yes").click()
    page.locator(".messagelist").get_by_text("1 job was removed.").wait_for()
    assert not QueuedJob.objects.exists()


@pytest.fixture
def renewed() -> Callable[[Any], int]:
    """Has a page renew itself at once, if it does so now; returns how often it has asked for that."""
    script = """() => {
        if (window.asked === undefined) {
            const fetch = window.fetch;
            window.asked = 0;
            window.fetch = (...given) => { window.asked++; return fetch(...given); };
        }
        document.dispatchEvent(new Event("visibilitychange"));
        return window.asked;
    }"""
    return lambda page: page.evaluate(script)


@pytest.mark.parametrize("what", ["chosen", "typed"])
def test_what_was_chosen_and_typed_stays_until_it_is_posted(
    opened: Opened, renewed: Callable[[Any], int], what: str
) -> None:
    tasks.add.using(queue_name="mail").enqueue(1)
    page = opened(url("queue"))
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="mail"))
    row.locator("summary").click()
    if what == "chosen":
        row.get_by_label("How long").select_option(label="for an hour")
    else:
        row.get_by_label("Reason").fill("the provider is down")
    page.locator("h1").last.click()
    assert renewed(page) == 0

    row.locator("summary").click()  # closed again: it is not wanted
    page.locator("h1").last.click()
    assert renewed(page) > 0


def test_an_open_form_stays_that_of_its_queue(opened: Opened, renewed: Callable[[Any], int]) -> None:
    tasks.add.using(queue_name="mail").enqueue(1)
    page = opened(url("queue"))
    page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="mail")).locator("summary").click()
    page.locator("h1").last.click()

    tasks.add.using(queue_name="above").enqueue(1)
    renewed(page)
    page.get_by_role("rowheader", name="above").wait_for()
    page.locator("details[open]").wait_for()
    assert page.locator("details[open] input[name=queue]").input_value() == "mail"


def test_a_worker_is_asked_to_be_quiet_and_to_stop(opened: Opened) -> None:
    moments = {"started_at": DatabaseNow(), "seen_at": DatabaseNow()}
    WorkerProcess.objects.create(id="w", name="web-1", host="web", pid=1, serving=1, state="SERVING", **moments)
    page = opened(url("workerprocess"), javascript=False)
    page.get_by_role("button", name="Quiet").click()
    page.get_by_role("button", name="Serve again").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Yes").click()
    page.get_by_text("asked to stop", exact=True).wait_for()
    assert WorkerRequest.objects.get().request == "STOP"


def test_a_task_is_run_from_its_page(opened: Opened) -> None:
    page = opened(url("registeredtask"))
    page.get_by_role("searchbox", name="Search").fill("tests.app.tasks.add")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Run…").click()
    page.get_by_role("button", name="Run now").click()
    page.get_by_text("This field is required.").wait_for()
    page.get_by_label("x:").fill("40")
    page.get_by_role("button", name="Run now").click()
    page.get_by_text("Enqueued as job").wait_for()
    run_all()
    assert JobResult.objects.get().return_value == "42"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_form_of_a_task_can_be_read(opened: Opened, theme: str) -> None:
    page = opened(url("registeredtask", "run", "tests.app.signatures.secretive"), theme=theme)
    assert faint_texts(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400
