"""The list of schedules, and their page: states, filters, history."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from taskq_django.models import Schedule, ScheduleRun
from taskq_django.testing import run_all
from tests.app import signatures, tasks  # noqa: F401 - registered by that
from tests.support.schedule_pages import ADD, PREFIX, add, change, raw, schedule, shown, url

pytestmark = pytest.mark.django_db

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def listed(client: Client, **query: str) -> str:
    answer = client.get(url("changelist"), query)
    assert answer.status_code == 200
    return answer.content.decode().partition('id="result_list"')[2].partition("</table>")[0]


def test_a_row_says_what_when_and_by_which_clocks(admin_client: Client) -> None:
    row = schedule(spec="0 9 * * 1-5")
    page = listed(admin_client)
    for part in ("nightly", ADD, "At 09:00, Monday through Friday", "0 9 * * 1-5", "Europe/Berlin", "in ", "Active"):
        assert part in page
    assert url("change", row) in page


def test_the_last_run_is_shown_with_what_came_of_it(admin_client: Client) -> None:
    row = schedule()
    admin_client.post(url("run", row))
    assert "Ready" in listed(admin_client)
    run_all()
    page = listed(admin_client)
    assert "Successful" in page
    assert str(ScheduleRun.objects.get().job_id) in page


def test_a_run_whose_job_is_forgotten_breaks_no_page(admin_client: Client) -> None:
    row = schedule()
    ScheduleRun.objects.create(schedule=row, slot=LONG_AGO, job_id="0" * 32, enqueued_at=LONG_AGO)
    assert "–" in listed(admin_client)
    assert "00000000-0000-0000-0000-000000000000" in admin_client.get(url("change", row)).content.decode()


def test_each_time_has_its_zone_and_the_readers_where_that_is_another(admin_client: Client, settings: Any) -> None:
    settings.TIME_ZONE = "UTC"
    noon = datetime(2030, 7, 1, 10, tzinfo=UTC)
    row = raw(schedule(), next_run_at=noon)
    page = listed(admin_client)
    assert "2030-07-01 12:00 <bdi>Europe/Berlin</bdi>" in page
    assert "· 2030-07-01 10:00 <bdi>UTC</bdi>" in page
    raw(row, kind="interval", spec="5 minutes")
    page = listed(admin_client)
    assert "2030-07-01 10:00 <bdi>UTC</bdi>" in page
    assert "Berlin" not in page
    ScheduleRun.objects.create(schedule=row, slot=noon, job_id="0" * 32, enqueued_at=noon)
    form = admin_client.get(url("change", row)).content.decode()
    assert "2030-07-01 10:00:00" in form
    assert "By the clocks of UTC." in form
    raw(row, kind="cron", spec="0 3 * * *")
    form = admin_client.get(url("change", row)).content.decode().partition("Last runs")[2]
    for part in ("2030-07-01 12:00:00", "2030-07-01 10:00:00", "Europe/Berlin", "UTC"):
        assert part in form


def test_schedules_that_the_code_gives_no_name_are_told_apart(admin_client: Client) -> None:
    for name in ("shop.tasks.poll", "shop.tasks.poll #2", "shop.tasks.report"):
        path = name.partition(" ")[0]
        raw(schedule(name=name), declared_as=name, task_path=path)
    page = listed(admin_client)
    for name in ("poll", "poll #2", "report"):
        assert f"<strong>{name}</strong>" in page


def test_the_arguments_of_a_task_that_is_gone_are_named_and_not_told(admin_client: Client) -> None:
    row = raw(schedule(), task_path="shop.tasks.gone", args=[7001], kwargs={"pin": 7002, "<b>": 7003})
    page = admin_client.get(url("change", row)).content.decode()
    for part in ("Stored arguments", "1. = ••••", "pin = ••••", "&lt;b&gt; = ••••", "taskq_schedules export"):
        assert part in page
    for secret in ("7001", "7002", "7003"):
        assert secret not in page


def test_the_page_shows_the_last_twenty_runs(admin_client: Client) -> None:
    row = raw(schedule(), run_count=25)
    ScheduleRun.objects.bulk_create(
        ScheduleRun(
            schedule=row,
            slot=LONG_AGO + timedelta(hours=n),
            job_id=f"{n:032}",
            enqueued_at=LONG_AGO + timedelta(hours=n, seconds=1.5),
        )
        for n in range(25)
    )
    page = admin_client.get(url("change", row)).content.decode()
    assert page.count("1.500") == 20
    assert "2026-01-02 01:00:00" in page
    assert "25 runs at its slots in all" in page


STATES: list[tuple[str, dict[str, Any], str]] = [
    ("Broken", {"broken": "its task is gone"}, "broken"),
    ("Overdue", {"next_run_at": LONG_AGO}, "overdue"),
    ("Finished", {"is_finished": True, "next_run_at": None}, "finished"),
    ("Disabled", {"enabled": False, "next_run_at": None, "disabled_reason": "It is no longer declared"}, ""),
]


@pytest.mark.parametrize(("word", "fields", "name"), STATES)
def test_a_state_is_a_word_with_its_reason_and_a_filter(
    admin_client: Client, word: str, fields: dict[str, Any], name: str
) -> None:
    raw(schedule(name="odd one"), **fields)
    schedule(name="usual one")
    page = listed(admin_client)
    assert word in page
    for reason in (fields.get("broken"), fields.get("disabled_reason")):
        assert reason is None or reason in page
    page = listed(admin_client, **({"state": name} if name else {"enabled": "no"}))
    assert "odd one" in page
    assert "usual one" not in page
    assert word in admin_client.get(url("change", Schedule.objects.get(name="odd one"))).content.decode()


def test_those_whose_last_run_failed_are_a_filter(admin_client: Client) -> None:
    failed = schedule(name="failed", task_path="tests.app.tasks.explode", kwargs={})
    better = schedule(name="better", task_path="tests.app.tasks.explode", kwargs={})
    admin_client.post(url("run", failed))
    admin_client.post(url("run", better))
    run_all()
    raw(better, task_path=ADD, kwargs={"x": 1})
    admin_client.post(url("run", better))
    run_all()
    schedule(name="never")
    rows = admin_client.get(url("changelist"), {"state": "failing"}).context["cl"].result_list
    assert [row.name for row in rows] == ["failed"]


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ({"enabled": "yes"}, {"a", "c"}),
        ({"task": PREFIX + "renamed"}, {"c"}),
        ({"state": "code"}, {"c"}),
        ({"q": "by night"}, {"b"}),
        ({"q": "renamed"}, {"c"}),
        ({"enabled": "perhaps", "state": "<b>", "task": "\0"}, {"a", "b", "c"}),
    ],
)
def test_filters_and_search_leave_the_others_out(admin_client: Client, query: dict[str, str], left: set[str]) -> None:
    schedule(name="a")
    schedule(name="b", enabled=False, note="by night")
    raw(schedule(name="c", task_path=PREFIX + "renamed", kwargs={}), declared_as="c")
    rows = admin_client.get(url("changelist"), query).context["cl"].result_list
    assert {row.name for row in rows} == left


@pytest.mark.parametrize("query", [{"q": "\0"}, {"p": "1000000000"}, {"o": "9.-9"}, {"nope": "1"}])
def test_any_address_is_answered(admin_client: Client, query: dict[str, str]) -> None:
    schedule()
    assert admin_client.get(url("changelist"), query, follow=True).status_code == 200


@pytest.mark.parametrize("order", ["2", "-4", "5"])
def test_columns_can_be_sorted_by(admin_client: Client, order: str) -> None:
    schedule(name="a")
    schedule(name="b", enabled=False)
    page = admin_client.get(url("changelist"), {"o": order}).content.decode()
    assert "sorted " in page


def test_a_list_asks_as_many_questions_however_long_it_is(
    admin_client: Client, django_assert_num_queries: Any, django_assert_max_num_queries: Any
) -> None:
    for n in range(2):
        admin_client.post(url("run", schedule(name=f"few {n}")))
    with django_assert_max_num_queries(8) as few:
        admin_client.get(url("changelist"))
        count = len(few.captured_queries)
    for n in range(20):
        admin_client.post(url("run", schedule(name=f"many {n}", task_path=PREFIX + "renamed", kwargs={})))
    with django_assert_num_queries(count):
        admin_client.get(url("changelist"))


def test_pages_need_no_inline_script_or_style(admin_client: Client) -> None:
    row = schedule()
    admin_client.post(url("run", row))
    for address in (url("changelist"), url("add"), url("change", row)):
        content = admin_client.get(address).content.decode().partition('id="content-main"')[2]
        assert "style=" not in content
        assert "<script>" not in content
        assert not [part for part in content.split() if part.startswith("on") and '="' in part]


def test_every_input_has_a_label(admin_client: Client) -> None:
    row = schedule(task_path=PREFIX + "starred", args=[1, 2], kwargs={"deep": 1})
    for address in (url("add"), url("change", row)):
        page = admin_client.get(address).content.decode().partition('id="schedule_form"')[2].partition("</form>")[0]
        named = set(re.findall(r'<label [^>]*for="([^"]+)"', page))
        tags = re.findall(r"<(?:input|select|textarea) [^>]*>", page)
        tags = [tag for tag in tags if 'type="hidden"' not in tag and " aria-label=" not in tag]
        ids = {found[1] for tag in tags if (found := re.search(r' id="([^"]+)"', tag))}
        assert ids - named == set()


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "UTC", "America/New_York"])
def test_without_time_zones_the_pages_work(admin_client: Client, settings: Any, zone: str) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, zone
    start = {"start_at_0": "2030-01-01", "start_at_1": "12:00:00"}
    assert add(admin_client, timezone=zone, **start).status_code == 302
    row = Schedule.objects.get()
    assert row.start_at == datetime(2030, 1, 1, 12)  # noqa: DTZ001
    assert timezone.is_naive(row.next_run_at)
    assert row.next_run_at == datetime(2030, 1, 2, 3)  # noqa: DTZ001
    planned = row.next_run_at

    admin_client.post(url("run", row))
    assert "Ready" in listed(admin_client)
    assert shown(admin_client, row)["start_at_1"] == "12:00:00"
    assert change(admin_client, row, note="x").status_code == 302
    row.refresh_from_db()
    assert row.next_run_at == planned
    for verb in ("disable", "enable", "duplicate"):
        admin_client.post(url(verb, row))
    query = {"kind": "interval", "spec": "5 minutes", "timezone": zone, "anchor": "2026-01-01T00:00:00"}
    assert "Every 5 minutes" in admin_client.get(url("preview"), query).content.decode()


def test_a_moment_as_argument_works_without_time_zones(admin_client: Client, settings: Any) -> None:
    settings.USE_TZ = False
    values = {"task_path": "tests.app.tasks.tomorrow", "arg-moment": "2026-07-01T12:00"}
    assert add(admin_client, **values).status_code == 302
    row = Schedule.objects.get()
    assert shown(admin_client, row)["arg-moment"] == "2026-07-01T12:00:00"
