"""What was saved in the form of a schedule is shown again, and is saved again unchanged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from taskq_django.beat.firing import call_of, stored_call
from taskq_django.models import Schedule
from tests.app import signatures, tasks
from tests.support.schedule_pages import PREFIX, add, arguments, change, errors_of, raw, schedule, shown, url

pytestmark = [pytest.mark.pages, pytest.mark.django_db]

BERLIN = ZoneInfo("Europe/Berlin")
TYPED = {
    "whole": "12345678901234567890123",
    "text": " with “quotes” & <b>, \\ and\r\ntwo lines ",
    "yes": "false",
    "amount": "10.50",
    "day": "2026-03-01",
    "moment": "2026-07-01T12:30:15",
    "clock": "23:59:58",
    "ident": "12345678-1234-5678-1234-567812345678",
    "size": '"large"',
    "colour": '"b"',
}


def stored(**kwargs: Any) -> dict[str, Any]:
    return stored_call([], kwargs, tasks.echo)[1]


def untouched(client: Client, row: Schedule) -> dict[str, Any]:
    """Its arguments after its form was sent as it was shown, but for the note."""
    before = Schedule.objects.filter(pk=row.pk).values().get()
    answer = change(client, row, note="touched")
    assert answer.status_code == 302, errors_of(answer)
    after = Schedule.objects.filter(pk=row.pk).values().get()
    assert after["note"] == "touched"
    left = {"note", "edited_at", "version"}
    assert {k: v for k, v in after.items() if k not in left} == {k: v for k, v in before.items() if k not in left}
    args, kwargs = call_of(Schedule.objects.get(pk=row.pk))
    assert not args
    return kwargs


def test_every_type_comes_back_equal(admin_client: Client) -> None:
    answer = add(admin_client, task_path=PREFIX + "typed", **{"arg-x": None}, **arguments(**TYPED))
    assert answer.status_code == 302, errors_of(answer)
    row = Schedule.objects.get()
    kwargs = call_of(row)[1]
    moment = kwargs.pop("moment")
    assert moment == datetime(2026, 7, 1, 12, 30, 15, tzinfo=BERLIN)
    assert kwargs == {
        "whole": 12345678901234567890123,
        "text": " with “quotes” & <b>, \\ and\ntwo lines ",
        "yes": False,
        "amount": Decimal("10.50"),
        "day": datetime(2026, 3, 1).date(),  # noqa: DTZ001
        "clock": datetime(2026, 3, 1, 23, 59, 58).time(),  # noqa: DTZ001
        "ident": UUID("12345678-1234-5678-1234-567812345678"),
        "size": "large",
        "colour": "b",
    }
    page = shown(admin_client, row)
    assert {name: page[f"arg-{name}"] for name in TYPED} == TYPED
    assert untouched(admin_client, row) == {**kwargs, "moment": moment}


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 7, 1, 12, 30, 15, 123456, tzinfo=UTC),
        datetime(2026, 7, 1, 12, 30, tzinfo=ZoneInfo("Asia/Kathmandu")),
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),  # comes twice
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
    ],
)
def test_a_moment_of_any_zone_stays_to_the_microsecond(admin_client: Client, moment: datetime) -> None:
    row = schedule(task_path=PREFIX + "plain", kwargs={"x": 1})
    raw(row, task_path="tests.app.tasks.tomorrow", kwargs=stored(moment=moment))
    kept = untouched(admin_client, row)["moment"]
    assert kept == moment
    assert (kept.utcoffset(), kept.fold) == (moment.utcoffset(), moment.fold)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "text",
        [1, 2.5, "x"],
        {"a": {"b": None}},
        {"$t": "no tag"},
        timedelta(days=2, microseconds=1),
        (1, (2, 3)),
        {4},
        b"\0\xff",
        2**70,
        Decimal("1E+5"),
        "line\r\nline",
        '"quoted" & <b>',
    ],
)
def test_any_value_in_a_box_for_json_stays(admin_client: Client, value: Any) -> None:
    row = schedule(task_path="tests.app.tasks.echo", kwargs=stored(value=value))
    assert untouched(admin_client, row) == {"value": value}


def test_a_choice_of_an_enum_stays(admin_client: Client) -> None:
    row = schedule(task_path=PREFIX + "typed", kwargs=stored(price=signatures.Price.HIGH))
    assert shown(admin_client, row)["arg-price"] not in {"", None}
    values = {**TYPED, "price": shown(admin_client, row)["arg-price"]}
    assert change(admin_client, row, **arguments(**values)).status_code == 302
    row.refresh_from_db()
    assert call_of(row)[1]["price"] == Decimal("9.50")


def test_what_is_stored_as_none_is_not_taken_for_the_default(admin_client: Client) -> None:
    row = schedule(task_path=PREFIX + "optional", kwargs={"count": None, "label": None})
    assert untouched(admin_client, row) == {"count": None, "label": None}


def test_what_is_emptied_is_left_to_the_function(admin_client: Client) -> None:
    row = schedule(kwargs={"x": 1, "y": 5})
    assert shown(admin_client, row)["arg-y"] == "5"
    assert change(admin_client, row, **{"arg-y": ""}).status_code == 302
    row.refresh_from_db()
    assert row.kwargs == {"x": 1}


def test_arguments_by_order_are_shown_at_their_parameters(admin_client: Client) -> None:
    row = schedule(args=[7, 8], kwargs={})
    page = shown(admin_client, row)
    assert (page["arg-x"], page["arg-y"]) == ("7", "8")
    row = schedule(name="b", task_path=PREFIX + "starred", args=[1, 2, 3], kwargs={"deep": {"a": 1}, "flag": True})
    page = shown(admin_client, row)
    assert page["arg-others"] == "[2, 3]"
    assert page["arg-more"] == '{"deep": {"a": 1}}'
    assert page["arg-flag"] == "true"
    assert change(admin_client, row, note="x").status_code == 302
    row.refresh_from_db()
    assert (row.args, row.kwargs) == ([1, 2, 3], {"deep": {"a": 1}, "flag": True})


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "interval", "spec": "90 minutes"},
        {"kind": "once", "spec": "2030-12-24 18:00:30"},
        {"spec": "@daily", "timezone": "Asia/Kathmandu", "enabled": False},
        {"start_at": datetime(2030, 1, 1, 12, 0, 5, tzinfo=UTC), "end_at": datetime(2031, 1, 1, tzinfo=UTC)},
        {"jitter": 5, "misfire": "all", "misfire_grace": 60, "misfire_cap": 3, "overlap": "skip"},
        {"queue_name": "mail", "priority": -5, "backend": "default", "expires": 60, "max_runs": 9, "note": "a\nb"},
    ],
)
def test_every_field_of_a_schedule_stays(admin_client: Client, fields: dict[str, Any]) -> None:
    untouched(admin_client, schedule(**fields))


def test_an_edit_of_the_note_never_moves_the_next_run(admin_client: Client) -> None:
    row = schedule()
    overdue = raw(row, next_run_at=datetime(2026, 1, 1, tzinfo=UTC)).next_run_at
    assert change(admin_client, row, note="new").status_code == 302
    row.refresh_from_db()
    assert (row.note, row.next_run_at) == ("new", overdue)


SECRETS = ("pin_zz", "hunter2", "key_zz")


def secretive(**changes: Any) -> Schedule:
    return schedule(task_path=PREFIX + "secretive", kwargs={"user": "ann", "pin": "pin_zz", "password": "hunter2"})


def test_secrets_are_in_no_page(admin_client: Client) -> None:
    row = secretive()
    pages = [
        admin_client.get(url("change", row)),
        admin_client.get(url("changelist")),
        admin_client.get(url("history", row)),
        admin_client.get(url("arguments"), {"task": row.task_path}),
        change(admin_client, row, name="", **arguments(pin="pin_zz2", password="hunter2")),
    ]
    for answer in pages:
        assert answer.status_code == 200
        assert not any(secret in answer.content.decode() for secret in (*SECRETS, "hunter0"))
    assert "ann" in pages[0].content.decode()


def test_secrets_stay_when_they_are_left_blank(admin_client: Client) -> None:
    row = secretive()
    assert change(admin_client, row, **{"arg-user": "bob"}).status_code == 302
    row.refresh_from_db()
    assert row.kwargs == {"user": "bob", "pin": "pin_zz", "password": "hunter2"}
    assert change(admin_client, row, **{"arg-pin": "new", "arg-choice_key": '"k2"'}).status_code == 302
    row.refresh_from_db()
    assert row.kwargs == {"user": "bob", "pin": "new", "password": "hunter2", "choice_key": "k2"}


def test_a_secret_within_an_argument_is_not_shown_and_stays(admin_client: Client) -> None:
    options = {"api_key": "key_zz", "deep": [{"plain": 1}]}
    row = schedule(task_path="tests.app.tasks.log_in", kwargs={"user": "a", "password": "b", "pin": "c"})
    raw(row, kwargs={**row.kwargs, "options": options})
    assert "key_zz" not in admin_client.get(url("change", row)).content.decode()
    assert change(admin_client, row, note="x").status_code == 302
    row.refresh_from_db()
    assert row.kwargs["options"] == options


def test_a_required_secret_must_be_given_once(admin_client: Client) -> None:
    answer = add(admin_client, task_path=PREFIX + "secretive", **arguments(user="ann"))
    assert errors_of(answer) == {"arg-pin": ["This field is required."]}


def test_the_history_of_an_edit_names_fields_and_no_values(admin_client: Client) -> None:
    row = secretive()
    change(admin_client, row, **{"arg-pin": "new_zz", "note": "x"})
    page = admin_client.get(url("history", row)).content.decode()
    assert "pin" in page
    assert "new_zz" not in page
