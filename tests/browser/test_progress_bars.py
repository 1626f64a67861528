"""A bar that follows its job: by its script, and without one by reload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.jobs import Claim, Progress
from taskq_django.models import QueuedJob
from taskq_django.pages.progress import token_of
from taskq_django.results import Result
from taskq_django.states import State
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.looks import faint_texts
from tests.support.sending import job

Opened = Callable[..., Any]

HIDDEN = """
(is) => {
  Object.defineProperty(document, "hidden", { value: is, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


def say(result: Result[Any], done: float, total: float | None = 8, text: str = "") -> None:
    """As its worker does."""
    QueuedJob.objects.filter(id=result.id).update(status=State.RUNNING, attempts=1)
    claim = Claim(job(id=result.id, attempts=1), "", 0.0)
    DatabaseBroker("default").note_progress([(claim, Progress(done, total, text))], waits=True)


def put_back() -> None:
    QueuedJob.objects.update(status=State.READY, attempts=0)


def page_of(result: Result[Any]) -> str:
    return reverse("taskq_django:progress", args=[token_of(result)])


def bars(*results: Result[Any]) -> str:
    return reverse("bars", args=["/".join(result.id for result in results)])


def status(page: Any, which: int = 0) -> Any:
    return page.get_by_role("status").nth(which)


def test_a_bar_follows_its_job_to_the_end(opened: Opened) -> None:
    result = tasks.add.enqueue(1)
    page = opened(bars(result))
    page.evaluate("addEventListener('taskq:over', (event) => (document.title = event.detail.state))")
    bar = page.get_by_role("progressbar")
    assert status(page).inner_text() == "Waiting"
    assert bar.get_attribute("value") is None

    say(result, 2, text="<b>copying</b>")
    page.get_by_text("2 of 8").wait_for()
    page.get_by_text("<b>copying</b>").wait_for()
    assert bar.get_attribute("value") == "0.2500"
    assert status(page).inner_text() == "Running"
    put_back()
    run_all()

    page.wait_for_function("document.title === 'SUCCESSFUL'")
    assert status(page).inner_text() == "Done"
    assert bar.get_attribute("value") == "1.0000"


def test_several_bars_of_a_page_each_follow_their_own_job(opened: Opened) -> None:
    results = [tasks.add.enqueue(n) for n in range(3)]
    page = opened(bars(*results))
    for n, result in enumerate(results, 1):
        say(result, n)
    for n in range(1, 4):
        page.get_by_text(f"{n} of 8").wait_for()
    assert page.get_by_role("progressbar").count() == 3


def test_nobody_is_asked_while_the_page_is_hidden_or_after_the_end(opened: Opened) -> None:
    result = tasks.add.enqueue(1)
    page = opened(bars(result))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_response("**/bar/"):
        page.clock.install()  # from here on its time passes when the test says so
    with page.expect_response("**/bar/"):
        page.clock.run_for(1000)
    page.evaluate(HIDDEN, True)
    asked.clear()
    page.clock.run_for(60_000)
    assert asked == []

    run_all()
    page.evaluate(HIDDEN, False)
    page.get_by_text("Done").wait_for()
    asked.clear()
    page.clock.run_for(60_000)
    assert asked == []


def test_an_answer_that_is_no_bar_is_not_shown_and_asked_for_again(opened: Opened) -> None:
    result = tasks.add.enqueue(1)
    page = opened(bars(result))
    answers = iter(["<h1>Sign in</h1>"])

    def once(route: Any) -> None:
        if (body := next(answers, None)) is None:
            route.continue_()
        else:
            route.fulfill(body=body, content_type="text/html")

    page.route("**/bar/", once)
    say(result, 5)
    page.get_by_text("5 of 8").wait_for()
    assert page.get_by_text("Sign in").count() == 0


def test_a_page_without_scripts_renews_itself_until_the_end(opened: Opened) -> None:
    result = tasks.add.enqueue(1)
    page = opened(page_of(result), javascript=False)
    assert status(page).inner_text() == "Waiting"
    say(result, 3)
    page.get_by_text("3 of 8").wait_for()
    put_back()
    run_all()
    page.get_by_text("Done").wait_for()
    assert page.locator("meta[http-equiv=refresh]").count() == 0


def test_a_bar_without_scripts_leads_to_the_page_that_renews_itself(opened: Opened) -> None:
    result = tasks.add.enqueue(1)
    page = opened(bars(result), javascript=False)
    page.get_by_role("link", name="See how far it is now").click()
    page.wait_for_url(f"**{page_of(result)}")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_can_be_read(opened: Opened, theme: str, width: int) -> None:
    result = tasks.add.enqueue(1)
    say(result, 412, 1000, "Importing " + "a-name-without-an-end" * 10)
    page = opened(page_of(result), theme=theme)
    page.set_viewport_size({"width": width, "height": 600})

    assert faint_texts(page, "main, main *") == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.get_by_role("progressbar").get_attribute("aria-label") == "Progress"
