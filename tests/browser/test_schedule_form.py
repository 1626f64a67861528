"""The form of a schedule, as somebody fills it in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from taskq_django.models import QueuedJob, Schedule
from tests.app import signatures, tasks  # noqa: F401 - registered by that
from tests.support.looks import cut_boxes, faint_texts
from tests.support.schedule_pages import ADD, schedule, url

Opened = Callable[..., Any]


def choose(page: Any, field: str, words: str) -> None:
    """In a searchable select, with the keyboard."""
    page.locator(f".field-{field} .select2-selection").focus()
    page.keyboard.press("Enter")
    page.locator(".select2-search__field").press_sequentially(words)
    wanted = re.compile(rf"^(.*/)?{words}$")
    for _ in range(20):
        if wanted.match(page.locator(".select2-results__option--highlighted").inner_text()):
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")


def test_a_schedule_is_made_in_one_form(opened: Opened) -> None:
    page = opened(url("add"))
    page.get_by_label("Name:").fill("every morning")
    choose(page, "task_path", "add")
    x = page.get_by_label("x:", exact=True)
    x.wait_for()
    assert page.get_by_label("y:", exact=True).get_attribute("placeholder") == "2"
    assert not page.get_by_role("button", name="Show its arguments").is_visible()
    assert not page.get_by_role("button", name="Preview", exact=True).is_visible()

    page.get_by_label("When:").fill("61 * * * *")
    page.locator(".taskq-problem", has_text="is no minute: it is out of range").wait_for()
    page.get_by_label("When:").fill("0 9 * * 1-5")
    page.get_by_text("At 09:00, Monday through Friday").wait_for()
    assert page.locator("#taskq-preview tbody tr").count() == 10
    assert page.locator(".taskq-zone").inner_text() == "Europe/London"

    choose(page, "timezone", "Kathmandu")
    page.locator("#taskq-preview th", has_text="Asia/Kathmandu").wait_for()
    assert page.locator("#taskq-preview tbody tr td").nth(1).inner_text() == "+05:45"

    x.fill("5")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was added successfully").wait_for()
    row = Schedule.objects.get()
    assert (row.task_path, row.kwargs, row.spec, row.timezone) == (ADD, {"x": 5}, "0 9 * * 1-5", "Asia/Kathmandu")


def test_an_error_is_told_at_its_field_and_nothing_is_lost(opened: Opened) -> None:
    page = opened(url("add"))
    page.get_by_label("Name:").fill("every morning")
    choose(page, "task_path", "add")
    page.get_by_label("y:", exact=True).fill("7")
    page.get_by_label("When:").fill("61 * * * *")
    page.evaluate("document.getElementById('schedule_form').noValidate = true")
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator(".errornote").wait_for()
    assert page.locator(".field-arg-x .errorlist").inner_text() == "This field is required."
    assert "out of range" in page.locator(".field-spec .errorlist").inner_text()
    assert page.get_by_label("y:", exact=True).input_value() == "7"
    assert page.locator(".field-task_path .select2-selection__rendered").inner_text() == ADD


def test_who_comes_back_to_a_task_finds_what_was_filled_in(opened: Opened) -> None:
    page = opened(url("change", schedule(kwargs={"x": 5, "y": 6})))
    page.get_by_label("y:", exact=True).fill("7")
    choose(page, "task_path", "echo")
    page.get_by_label("value:", exact=True).wait_for()
    choose(page, "task_path", "add")
    page.get_by_label("y:", exact=True).wait_for()
    assert page.get_by_label("x:", exact=True).input_value() == "5"
    assert page.get_by_label("y:", exact=True).input_value() == "7"


@pytest.mark.parametrize(
    ("pick", "kind", "spec", "words"),
    [
        ("every 5 minutes", "interval", "5 minutes", "Every 5 minutes"),
        ("hourly", "cron", "0 * * * *", "Every hour"),
        ("daily at 3:00", "cron", "0 3 * * *", "At 03:00"),
        ("weekdays at 9:00", "cron", "0 9 * * 1-5", "At 09:00, Monday through Friday"),
        ("monthly on the 1st", "cron", "0 8 1 * *", "At 08:00, on day 1 of the month"),
    ],
)
def test_a_quick_pick_fills_the_form(opened: Opened, pick: str, kind: str, spec: str, words: str) -> None:
    page = opened(url("add"))
    page.get_by_role("button", name=pick).click()
    page.locator(".taskq-words", has_text=words).wait_for()
    assert page.locator('input[name="kind"]:checked').get_attribute("value") == kind
    assert page.get_by_label("When:").input_value() == spec
    assert page.locator(".field-timezone").is_visible() == (kind != "interval")


def test_the_preview_follows_what_is_filled_in(opened: Opened) -> None:
    page = opened(url("change", schedule(timezone="Asia/Kathmandu")))
    yours = page.locator("#taskq-preview .taskq-yours").first
    assert yours.is_visible()
    page.locator("summary", has_text="Limits, missed runs, overlap").click()
    page.get_by_label("Runs in all:").fill("3")
    page.get_by_text("It runs 3 times in all: these are the last runs.").wait_for()
    assert page.locator("#taskq-preview tbody tr").count() == 3
    page.get_by_label("Enabled").uncheck()
    page.get_by_text("It is disabled: these are the runs that it would have.").wait_for()

    choose(page, "timezone", "London")  # that of this browser
    page.locator("#taskq-preview th", has_text="Europe/London").first.wait_for()
    yours.wait_for(state="hidden")
    page.get_by_label("When:").fill("")
    page.get_by_text("The next ten runs appear here.").wait_for()


@pytest.mark.parametrize("javascript", [True, False])
def test_run_now_drops_no_edit(opened: Opened, javascript: bool) -> None:
    row = schedule()
    page = opened(url("change", row), javascript=javascript)
    page.get_by_label("When:").fill("0 4 * * *")
    page.get_by_role("button", name="Run now").click()
    page.get_by_text("Nothing was done, because you have changed this and not saved it: When.").wait_for()
    assert page.get_by_label("When:").input_value() == "0 4 * * *"
    assert not QueuedJob.objects.exists()
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_text("was changed successfully").wait_for()
    page.get_by_role("button", name="Run now").click()
    page.get_by_text("was enqueued as job").wait_for()
    row.refresh_from_db()
    assert row.spec == "0 4 * * *"


@pytest.mark.parametrize("javascript", [True, False])
def test_enter_in_a_field_saves(opened: Opened, javascript: bool) -> None:
    row = schedule()
    page = opened(url("change", row), javascript=javascript)
    page.get_by_label("Name:").fill("by night")
    page.get_by_label("Name:").press("Enter")
    page.get_by_text("was changed successfully").wait_for()
    row.refresh_from_db()
    assert row.name == "by night"
    assert not QueuedJob.objects.exists()


def test_run_now_leads_to_the_job(opened: Opened) -> None:
    row = schedule()
    page = opened(url("change", row))
    page.get_by_role("button", name="Run now").click()
    page.get_by_text("was enqueued as job").wait_for()
    job = QueuedJob.objects.get()
    page.locator(".taskq-runs").get_by_role("link", name=str(job.pk)).click()
    page.wait_for_url(re.compile(str(job.pk)))


def test_without_javascript_two_buttons_do_the_same(opened: Opened) -> None:
    page = opened(url("add"), javascript=False)
    page.get_by_label("Name:").fill("every morning")
    page.get_by_label("Task:").select_option(ADD)
    page.get_by_role("button", name="Show its arguments").click()
    page.get_by_label("x:", exact=True).fill("5")
    page.get_by_label("When:").fill("0 9 * * 1-5")
    page.get_by_role("button", name="Preview", exact=True).click()
    page.get_by_text("At 09:00, Monday through Friday").wait_for()
    assert page.get_by_label("x:", exact=True).input_value() == "5"
    assert not page.locator(".errornote").count()
    assert not page.locator(".taskq-picks").is_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was added successfully").wait_for()
    assert Schedule.objects.get().kwargs == {"x": 5}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_form_can_be_read(opened: Opened, photographed: Callable[[Any, str], None], theme: str) -> None:
    row = schedule(name="Weekly report", spec="30 2 * * 1-5", kwargs={"x": 5}, note="For the book-keepers.")
    page = opened(url("change", row), theme=theme)
    page.get_by_role("button", name="Run now").click()
    page.locator(".taskq-runs tbody tr").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400
    assert cut_boxes(page, "#content, #taskq-preview, .taskq-runs, fieldset") == []
    assert faint_texts(page) == []
    page.reload()
    page.locator(".taskq-runs tbody tr").wait_for()
    photographed(page, f"schedule-form-{theme}")


def test_a_text_of_many_lines_is_seen_whole(opened: Opened) -> None:
    row = schedule(task_path="tests.app.tasks.note", kwargs={"path": "a", "text": "one\ntwo\nthree\nfour"})
    page = opened(url("change", row))
    text = page.get_by_label("text:", exact=True)
    assert text.evaluate("(box) => box.scrollHeight - box.clientHeight") <= 0
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was changed successfully").wait_for()
    row.refresh_from_db()
    assert row.kwargs["text"] == "one\ntwo\nthree\nfour"


def test_every_field_can_be_reached_by_the_keyboard(opened: Opened) -> None:
    page = opened(url("add"))
    choose(page, "task_path", "add")
    page.get_by_label("x:", exact=True).wait_for()
    page.get_by_label("Name:").focus()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()"))
    for name in ("arg-x", "arg-y", "kind", "spec", "hourly", "_save"):
        assert name in reached
