"""The list of schedules, as somebody reads and uses it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from taskq_django.models import Schedule
from taskq_django.testing import run_all
from tests.app import signatures, tasks  # noqa: F401 - registered by that
from tests.support.looks import cut_boxes, faint_texts, lines_of_rows
from tests.support.schedule_pages import PREFIX, raw, schedule, url

Opened = Callable[..., Any]
LONG = ("Reconcile the ledgers of all branches " * 6)[:200]


def all_states() -> None:
    client = Client()
    client.force_login(User.objects.get(username="ann"))
    client.post(url("run", schedule(name="Weekly report", spec="30 6 * * 1", kwargs={"x": 5})))
    client.post(
        url(
            "run", schedule(name="Fails each time", task_path="tests.app.tasks.explode", kwargs={}, spec="*/15 * * * *")
        )
    )
    run_all()
    waiting = schedule(
        name="Warm the cache", kind="interval", spec="5 minutes", task_path="tests.app.tasks.my_pid", kwargs={}
    )
    client.post(url("run", waiting))
    raw(schedule(name="Late", spec="0 * * * *"), next_run_at=datetime.now(UTC) - timedelta(minutes=2))
    schedule(name="Invoices of the month", enabled=False, spec="0 3 1 * *", timezone="America/Argentina/ComodRivadavia")
    schedule(name="Once", kind="once", spec="2030-12-24 18:00")
    broken = "No task is registered as 'shop.tasks.gone'. If it was renamed, put its old path into @task(aliases=[…])."
    raw(schedule(name="Broken"), task_path="shop.warehouse.deliveries.tasks.no_longer_there", broken=broken)
    raw(
        schedule(
            name=LONG,
            spec="0,15,30,45 8-18 * * 1-5",
            timezone="America/Argentina/ComodRivadavia",
        ),
        is_finished=True,
        next_run_at=None,
    )
    raw(schedule(name="From code", task_path=PREFIX + "declared", kwargs={"x": 1}), declared_as="x", is_overridden=True)


def test_the_switch_turns_a_schedule_off_and_on(opened: Opened) -> None:
    row = schedule()
    page = opened(f"{url('changelist')}?enabled=yes")
    page.get_by_role("button", name="Disable nightly").click()
    page.get_by_text("“nightly” is disabled.").wait_for()
    assert "enabled=yes" in page.url
    row.refresh_from_db()
    assert not row.enabled
    page.goto(page.url.partition("?")[0])
    page.get_by_role("button", name="Enable nightly").press("Enter")
    page.get_by_text("“nightly” is enabled.").wait_for()
    row.refresh_from_db()
    assert row.enabled


def test_the_switch_needs_no_javascript(opened: Opened) -> None:
    schedule()
    page = opened(url("changelist"), javascript=False)
    page.get_by_role("button", name="Disable nightly").click()
    page.get_by_text("“nightly” is disabled.").wait_for()
    assert not Schedule.objects.get().enabled


def test_many_are_run_at_once(opened: Opened) -> None:
    for n in range(3):
        schedule(name=f"s{n}")
    page = opened(url("changelist"))
    page.locator("#action-toggle").check()
    page.get_by_label("Action:").select_option(label="Run now")
    page.locator('button[name="index"]').click()
    page.get_by_text("Enqueued now: 3.").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_list_can_be_read(opened: Opened, photographed: Callable[[Any, str], None], theme: str) -> None:
    page = opened("/admin/", theme=theme)
    all_states()
    page.goto(page.url + "taskq_django/schedule/")
    assert page.locator("#result_list tbody tr").count() == 9
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400
    assert cut_boxes(page, "#content, .results, #changelist-form, #result_list td, #result_list tbody th") == []
    *_, second, last = sorted(lines_of_rows(page, "#result_list tbody tr"))
    assert second < 7
    assert last < 14, "of two hundred characters"
    assert faint_texts(page) == []
    photographed(page, f"schedule-list-{theme}")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_of_schedules_scrolls_sideways_on_a_phone(opened: Opened, theme: str) -> None:
    page = opened("/admin/", theme=theme)
    page.set_viewport_size({"width": 390, "height": 800})
    all_states()
    rows = {row.name: row for row in Schedule.objects.all()}
    address = page.url.removesuffix("/admin/")
    pages = [url("changelist"), url("add")]
    pages += [url(what, rows[name]) for name in ("Weekly report", "Broken", LONG) for what in ("change", "delete")]
    for each in pages:
        page.goto(address + each)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, each
        assert faint_texts(page) == [], each
