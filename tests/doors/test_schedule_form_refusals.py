"""What the form of a schedule refuses, where it says so, and that nothing is half saved."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from taskq_django.models import Schedule
from tests.app import signatures, tasks  # noqa: F401 - registered by that
from tests.support.schedule_pages import ADD, PREFIX, add, change, errors_of, raw, schedule, sent, shown, url

pytestmark = [pytest.mark.pages, pytest.mark.django_db]

ECHO = "tests.app.tasks.echo"


def refused(client: Client, field: str, **changes: Any) -> str:
    """The error at this field, which is the only one."""
    begin = time.process_time()
    errors = errors_of(add(client, **changes))
    assert time.process_time() - begin < 5
    assert list(errors) == [field]
    assert not Schedule.objects.exists()
    assert not LogEntry.objects.exists()
    return " ".join(errors[field])


def test_a_missing_argument_is_an_error_at_its_field(admin_client: Client) -> None:
    assert refused(admin_client, "arg-x", **{"arg-x": ""}) == "This field is required."
    assert refused(admin_client, "arg-x", **{"arg-x": None}) == "This field is required."


@pytest.mark.parametrize("text", ["one", "1.5", "1e400", "9" * 5000, "\0", "٣٣x"])
def test_what_is_no_number_is_an_error_at_its_field(admin_client: Client, text: str) -> None:
    refused(admin_client, "arg-x", **{"arg-x": text})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1,2", "line 1, column 5"),
        ('{"a": NaN}', "NaN is not JSON"),
        ("[1, -Infinity]", "-Infinity is not JSON"),
        ("1e400", "'value' is inf"),
        ('{"a": 1,\n "a": 2}', "'a' is given twice"),
        ("9" * 5000, "cannot be sent"),
        ("[" * 30 + "]" * 30, "deep"),
        ("[" * 40_000 + "]" * 40_000, "deep"),
        ('"\\u0000"', "NUL"),
        ('"\\ud800"', "surrogate"),
        ('{"$t": "unheard of", "v": 1}', "unknown kind"),
        ('{"$t": "datetime", "v": "soon"}', "cannot be read"),
        ("x" * 200_000, "too long"),
        ("text", "not JSON"),
        ("'text'", "not JSON"),
    ],
)
def test_json_that_cannot_be_sent_is_an_error_that_says_why(admin_client: Client, text: str, said: str) -> None:
    assert said in refused(admin_client, "arg-value", task_path=ECHO, **{"arg-value": text})


def test_a_form_of_five_megabytes_is_refused(admin_client: Client) -> None:
    answer = admin_client.post(url("add"), sent(task_path=ECHO, **{"arg-value": "x" * 5_000_000}))
    assert answer.status_code == 400
    assert not Schedule.objects.exists()


@pytest.mark.parametrize("text", ['"text"', "null x", "5", "[1]", "true"])
def test_named_arguments_must_be_an_object(admin_client: Client, text: str) -> None:
    refused(admin_client, "arg-more", task_path=PREFIX + "starred", **{"arg-first": "1", "arg-more": text})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "required"),
        ("61 * * * *", "is no minute: it is out of range"),
        ("* * * *", "4 fields"),
        ("*/0 * * * *", ""),
        ("0 0 30 2 *", "never fires"),
        ("R * * * *", "by chance"),
        ("@reboot", "@reboot"),
        ("* *\n* * *", "one line"),
        ("٣ * * * *", "ASCII"),
        ("0 3 * * * *", "must have five"),
        ("1," * 20_000 + "1 * * * *", "at most 100 characters"),
        ("\0 * * * *", "Null characters"),
        ("<script>", ""),
    ],
)
def test_a_bad_cron_expression_is_an_error_at_its_field(admin_client: Client, spec: str, said: str) -> None:
    assert said in refused(admin_client, "spec", spec=spec)


@pytest.mark.parametrize("spec", ["0", "0 minutes", "-1 minutes", "0.001 seconds", "1000000000 days", "5 fortnights"])
def test_a_bad_interval_is_an_error_at_its_field(admin_client: Client, spec: str) -> None:
    refused(admin_client, "spec", kind="interval", spec=spec)


def test_the_shortest_interval_is_told(admin_client: Client) -> None:
    assert "at least 1 second" in refused(admin_client, "spec", kind="interval", spec="0 minutes")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("2020-01-01 00:00", "past"),
        ("soon", "written like"),
        ("9999-12-31 23:59", "from 2000 to 9000"),
        ("2030-02-30 00:00", "written like"),
    ],
)
def test_a_bad_moment_is_an_error_at_its_field(admin_client: Client, spec: str, said: str) -> None:
    assert said in refused(admin_client, "spec", kind="once", spec=spec)


@pytest.mark.parametrize("zone", ["Mars/X", "../../etc/passwd", "", "+05:30", "localtime", "x" * 40_000])
def test_a_zone_that_there_is_not_is_an_error_at_its_field(admin_client: Client, zone: str) -> None:
    refused(admin_client, "timezone", timezone=zone)


@pytest.mark.parametrize("kind", ["", "hourly", "\0", "<script>"])
def test_a_kind_that_there_is_not_is_an_error_at_its_field(admin_client: Client, kind: str) -> None:
    refused(admin_client, "kind", kind=kind)


def between(start: str, end: str) -> dict[str, str]:
    moments = {"start_at": start, "end_at": end}
    return {f"{name}_{n}": part for name, text in moments.items() for n, part in enumerate(text.split(" "))}


def test_an_end_before_the_start_is_an_error_at_the_end(admin_client: Client) -> None:
    said = refused(admin_client, "end_at", **between("2030-01-02 00:00:00", "2030-01-01 00:00:00"))
    assert "later than the start" in said


@pytest.mark.parametrize("year", ["0001", "1999", "9999"])
@pytest.mark.parametrize("kind", [{}, {"kind": "interval", "spec": "5 minutes"}])
def test_a_start_beyond_reason_is_an_error_at_its_field(admin_client: Client, year: str, kind: dict[str, str]) -> None:
    moments = {"start_at_0": f"{year}-12-31", "start_at_1": "23:59:59"}
    errors = errors_of(add(admin_client, **moments, **kind))
    assert list(errors) == ["start_at"]


def test_a_schedule_without_a_run_to_come_is_refused(admin_client: Client) -> None:
    said = refused(admin_client, "spec", **between("2020-01-01 00:00:00", "2020-02-01 00:00:00"))
    assert "no run to come" in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", "101"),
        ("priority", "high"),
        ("queue_name", "A b"),
        ("queue_name", "a'; drop table--"),
        ("queue_name", "x" * 65),
        ("backend", "nope"),
        ("expires", "0"),
        ("max_runs", "0"),
        ("max_runs", "99999999999999999999"),
        ("jitter", "-1"),
        ("jitter", "86401"),
        ("misfire", "always"),
        ("misfire_cap", "1001"),
        ("overlap", "maybe"),
        ("name", ""),
        ("name", "x" * 201),
        ("name", "a\0b"),
        ("note", "x" * 10_001),
        ("task_path", "os.system"),
        ("task_path", "tests.app.tasks.gone"),
        ("task_path", ""),
        ("task_path", "a\0b"),
    ],
)
def test_a_value_out_of_its_range_is_an_error_at_its_field(admin_client: Client, field: str, value: str) -> None:
    refused(admin_client, field, **{field: value})


def test_a_queue_that_the_backend_has_not_is_an_error_at_its_field(admin_client: Client, settings: Any) -> None:
    settings.TASKS = {"default": {**settings.TASKS["default"], "QUEUES": ["default"]}}
    assert "other" in refused(admin_client, "queue_name", queue_name="other")


def test_a_name_that_is_taken_is_an_error_at_its_field(admin_client: Client) -> None:
    schedule(name="nightly")
    assert "already exists" in str(errors_of(add(admin_client))["name"])
    assert Schedule.objects.count() == 1


def test_an_edit_that_is_refused_changes_nothing(admin_client: Client) -> None:
    row = schedule()
    before = Schedule.objects.values().get()
    assert errors_of(change(admin_client, row, name="new", spec="61 * * * *", note="new"))
    assert Schedule.objects.values().get() == before
    assert not LogEntry.objects.exists()


def test_an_edit_that_meets_another_editors_is_refused(admin_client: Client) -> None:
    row = schedule()
    opened = shown(admin_client, row)
    assert change(admin_client, row, note="theirs").status_code == 302

    answer = admin_client.post(url("change", row), {**opened, "note": "mine"})
    assert "Somebody has changed this schedule" in str(errors_of(answer)[""])
    row.refresh_from_db()
    assert row.note == "theirs"


def test_an_edit_of_a_schedule_that_is_gone_makes_no_new_one(admin_client: Client) -> None:
    row = schedule()
    opened = shown(admin_client, row)
    row.delete()
    assert admin_client.post(url("change", Schedule(pk=row.pk or 1)), opened).status_code == 302
    assert not Schedule.objects.exists()


def test_the_ticks_of_a_beat_refuse_no_edit(admin_client: Client) -> None:
    row = schedule()
    opened = shown(admin_client, row)
    raw(row, next_run_at=datetime(2030, 1, 1, tzinfo=UTC), run_count=5, version=9, broken="")
    assert admin_client.post(url("change", row), {**opened, "note": "mine"}).status_code == 302
    row.refresh_from_db()
    assert (row.note, row.run_count, row.next_run_at) == ("mine", 5, datetime(2030, 1, 1, tzinfo=UTC))


def test_a_schedule_whose_task_is_gone_can_be_seen_but_not_saved(admin_client: Client) -> None:
    row = raw(schedule(), task_path="shop.tasks.gone", kwargs={"x": 1})
    page = admin_client.get(url("change", row)).content.decode()
    assert "shop.tasks.gone (no longer registered)" in page
    assert "No task of this name is registered" in str(errors_of(change(admin_client, row))["task_path"])
    assert change(admin_client, row, task_path=ADD, **{"arg-x": "3"}).status_code == 302
    row.refresh_from_db()
    assert (row.task_path, row.kwargs) == (ADD, {"x": 3})


def test_a_schedule_of_a_task_by_its_old_name_can_be_saved(admin_client: Client) -> None:
    row = schedule(task_path="tests.app.old_name", kwargs={"x": 4})
    assert change(admin_client, row, note="x").status_code == 302
    row.refresh_from_db()
    assert (row.task_path, row.kwargs) == ("tests.app.old_name", {"x": 4})


@pytest.mark.parametrize("kwargs", [{"nope": 1}, [], None, {"x": {"$t": "unheard of", "v": 1}}, {"x": 2**70}])
def test_arguments_by_another_hand_break_no_page(admin_client: Client, kwargs: Any) -> None:
    row = raw(schedule(), kwargs=json.loads(json.dumps(kwargs)) if kwargs is not None else "text")
    for what in ("change", "changelist", "delete", "history"):
        assert admin_client.get(url(what, row if what != "changelist" else None)).status_code == 200
    change(admin_client, row, note="x")
