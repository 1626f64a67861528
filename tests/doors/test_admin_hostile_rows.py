"""Rows by another hand: each page stays, the row says that it cannot be read, and a worker ends it as FAILED."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from taskq_django import compat
from taskq_django.beat.firing import call_of
from taskq_django.exceptions import BrokenSchedule
from taskq_django.models import JobResult, QueuedJob, Schedule
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.schedule_pages import schedule, url

pytestmark = [pytest.mark.pages, pytest.mark.django_db]

UNREADABLE = {
    "surrogate": r'[["\ud800"],{}]',
    "surrogate in a name": r'[[],{"\udfff":1}]',
    "surrogate, long": r'[["\ud83d",1],{"y":"' + "x" * 500 + '"}]',
    "surrogate after a long one": '[["' + "x" * 250 + r'"],{"y":"\ud800"}]',
    "cut off": '[["a',
    "no call": '"text"',
    "wrong types": '[{"x":1},[]]',
    "too deep": "[[" + "[" * 5000 + "]" * 5000 + "],{}]",
    "empty": "",
    "not JSON": "[[NaN],{}]",
}
ODD = {
    "huge": f"[[{'9' * 5000}],{{}}]",
    "huge float": "[[1e999],{}]",
    "many": "[[" + ",".join(["1"] * 10_000) + "],{}]",
    "deep": "[[" + "[" * 900 + "]" * 900 + "],{}]",
    "tag": '[[{"$t":"int","v":"' + "9" * 5000 + '"}],{}]',
    "tag of tags": "[[" + '{"$t":"tuple","v":[' * 300 + "]}" * 300 + "],{}]",
}
HEADERS = [
    *("[]", "null", '"text"', "5", "{", "{" * 5000, r'{"metadata":"\ud800"}', '{"metadata":5}', '{"metadata":[1]}'),
    *('{"schedule":5}', '{"schedule":{"name":[],"slot":{}}}', '{"sensitive":5}', '{"sensitive":{"names":[5]}}'),
    '{"sensitive":{"names":["x"],"parameters":[{}]}}',
]


def pages(client: Client, id_: str) -> list[str]:
    found = [
        client.get(reverse("admin:taskq_django_queuedjob_changelist")),
        client.get(reverse("admin:taskq_django_jobresult_changelist")),
        client.get(reverse("admin:taskq_django_job", args=[id_])),
    ]
    assert [answer.status_code for answer in found] == [200] * 3
    return [answer.content.decode() for answer in found]


@pytest.mark.parametrize("payload", UNREADABLE.values(), ids=UNREADABLE)
def test_a_job_that_cannot_be_read_is_shown_as_such_and_fails(admin_client: Client, payload: str) -> None:
    sent, good = tasks.add.enqueue(1), tasks.add.enqueue(2)
    QueuedJob.objects.filter(id=sent.id).update(payload=payload)

    queued, _, page = pages(admin_client, sent.id)
    assert sent.id in queued
    assert "unreadable" in queued or "…)</code>" in queued
    assert "These arguments cannot be read." in page
    assert tasks.add.get_result(sent.id).args == []

    run_all()
    found = tasks.add.get_result(sent.id)
    assert str(found.status) == "FAILED"
    assert found.errors[0].exception_class_path.endswith((".PayloadError", ".ArgumentError"))
    assert tasks.add.get_result(good.id).return_value == 4
    _, ended, page = pages(admin_client, sent.id)
    assert sent.id in ended
    assert "These arguments cannot be read." in page


@pytest.mark.parametrize("payload", ODD.values(), ids=ODD)
def test_an_odd_text_breaks_no_reader(admin_client: Client, payload: str) -> None:
    sent = tasks.echo.enqueue(1)
    QueuedJob.objects.filter(id=sent.id).update(payload=payload)
    pages(admin_client, sent.id)
    assert tasks.echo.get_result(sent.id).id == sent.id
    run_all()
    assert tasks.echo.get_result(sent.id).is_finished
    pages(admin_client, sent.id)


@pytest.mark.parametrize("text", [*UNREADABLE.values(), *ODD.values()], ids=[*UNREADABLE, *ODD])
def test_a_return_value_by_another_hand_breaks_no_reader(admin_client: Client, text: str) -> None:
    sent = tasks.echo.enqueue(1)
    run_all()
    JobResult.objects.filter(id=sent.id).update(return_value=text, message=text, exception_class=text[:200])
    pages(admin_client, sent.id)
    found = tasks.echo.get_result(sent.id)
    assert (found.id, str(found.status)) == (sent.id, "SUCCESSFUL")


@pytest.mark.parametrize("headers", HEADERS, ids=range(len(HEADERS)))
@pytest.mark.parametrize("task", [tasks.echo, tasks.about_me], ids=["plain", "with its context"])
def test_headers_by_another_hand_break_no_reader(admin_client: Client, headers: str, task: Any) -> None:
    sent = task.enqueue(*[1] * (task is tasks.echo))
    QueuedJob.objects.filter(id=sent.id).update(headers=headers)
    assert task.get_result(sent.id).metadata == {}
    assert async_to_sync(task.aget_result)(sent.id).metadata == {}
    sent.refresh()
    pages(admin_client, sent.id)

    run_all()
    found = task.get_result(sent.id)
    assert (str(found.status), found.metadata) == ("SUCCESSFUL", {})
    assert compat.task_backends["default"].get_result(sent.id) == found
    pages(admin_client, sent.id)


@pytest.mark.parametrize("headers", ["[]", "{", '{"schedule":5}'])
def test_a_row_with_such_headers_can_be_retried_and_cancelled(headers: str) -> None:
    sent = tasks.explode.enqueue()
    run_all()
    JobResult.objects.filter(id=sent.id).update(headers=headers)
    found = tasks.explode.get_result(sent.id)
    found.retry()
    assert found.cancel()
    assert str(found.state) == "CANCELLED"


STORED = {
    "surrogate": r'{"x": "\ud800"}',
    "surrogate in a name": r'{"\ud800": 1}',
    "huge": '{"x": ' + "9" * 5000 + "}",
    "huge float": '{"x": 1e400}',
    "deep": '{"x": ' + "[" * 900 + "]" * 900 + "}",
    "text": '"\\u0022"',
    "number": "5",
    "list": "[1]",
    "null": "null",
}


@pytest.mark.parametrize("path", ["tests.app.tasks.echo", "tests.app.tasks.add", "shop.tasks.gone"])
@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
def test_a_schedule_by_another_hand_breaks_no_page_and_no_other(admin_client: Client, stored: str, path: str) -> None:
    other, row = schedule(name="other"), schedule()
    if not put(row, stored):
        pytest.skip("this database refuses it")
    Schedule.objects.filter(pk=row.pk).update(task_path=path)
    read = [each.name for each in Schedule.objects.order_by("name")]
    assert read == ["nightly", "other"]
    for what in ("change", "changelist", "delete", "history"):
        answer = admin_client.get(url(what, row if what != "changelist" else None))
        assert answer.status_code == 200, what
    for verb in ("duplicate", "disable", "enable", "run"):
        assert admin_client.post(url(verb, row)).status_code in {302, 403}, verb
        assert admin_client.get(url("changelist")).status_code == 200
    assert call_of(other) == ([], {"x": 1})
    data = {"action": "run_selected", "_selected_action": [row.pk, other.pk]}
    assert "Enqueued now" in admin_client.post(url("changelist"), data, follow=True).content.decode()


def put(row: Schedule, text: str) -> bool:
    """As no form and no ORM would; False where the database refuses it."""
    cast = "::jsonb" if connection.vendor == "postgresql" else ""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"UPDATE taskq_django_schedule SET kwargs = %s{cast} WHERE id = %s", [text, row.pk])
    except DatabaseError:
        return False
    return True


def test_arguments_that_json_refuses_are_a_broken_schedule() -> None:
    row = schedule()
    if not put(row, STORED["huge"]):
        pytest.skip("this database refuses it")
    row = Schedule.objects.get(pk=row.pk)
    with pytest.raises(BrokenSchedule, match="cannot be read"):
        call_of(row)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="elsewhere a column of moments takes no other text")
@pytest.mark.parametrize("status", ["READY", "SCHEDULED"])
@pytest.mark.parametrize("column", ["available_at", "enqueued_at"])
def test_a_moment_that_is_none_holds_up_no_other_job(column: str, status: str) -> None:
    for moment in ("soon", "", 5, "2026-11-29T16:00:00Z"):
        odd, good = tasks.add.enqueue(1), tasks.add.enqueue(2)
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE taskq_django_queuedjob SET {column} = %s, status = %s WHERE payload = %s",
                [moment, status, QueuedJob.objects.filter(id=odd.id).values_list("payload", flat=True)[0]],
            )
        run_all()
        assert tasks.add.get_result(good.id).return_value == 4, moment
        QueuedJob.objects.all()._raw_delete("default")


def test_a_moment_at_the_end_of_time_breaks_no_page(admin_client: Client) -> None:
    sent = tasks.add.using(run_after=datetime(9999, 12, 31, 23, 59, tzinfo=UTC)).enqueue(1)
    assert "9999-12-31" in pages(admin_client, sent.id)[2]


def test_a_readable_row_is_no_less_readable(admin_client: Client) -> None:
    sent = tasks.add.enqueue(1, y=2)
    queued, _, page = pages(admin_client, sent.id)
    assert '<code class="taskq-arguments">(x=1, y=2)</code>' in queued
    shown = unescape(page.partition('taskq-code" tabindex="0">')[2].partition("</pre>")[0])
    assert json.loads(shown) == {"x": 1, "y": 2}
