"""The search, the tabs and the order of the lists of jobs: what a list shows is found, and nothing that it hides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from taskq_django.admin import filters, searching
from taskq_django.jobs import new_id
from taskq_django.models import JobResult
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.schedule_pages import user

pytestmark = pytest.mark.django_db

RESULTS = "admin:taskq_django_jobresult_changelist"
QUEUED = "admin:taskq_django_queuedjob_changelist"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def result(**changes: Any) -> str:
    given = {
        "task_path": "shop.tasks.sell",
        "backend": "default",
        "queue_name": "default",
        "priority": 0,
        "status": "SUCCESSFUL",
        "enqueued_at": NOW,
        "finished_at": NOW,
        "payload": "[[],{}]",
        # Whose code is not here, and that calls nothing a secret: so that its arguments are shown.
        "headers": '{"sensitive":{"names":["pin"],"parameters":["order","user","pin","url"]}}',
    }
    return str(JobResult.objects.create(**{**given, **changes}).id)


def ids(client: Client, name: str = RESULTS, **query: str) -> set[str]:
    changes = client.get(reverse(name), query).context["cl"]
    return {str(row.pk) for row in changes.result_list}


@pytest.fixture
def shown() -> str:
    """The id of the one that is looked for, among others."""
    for number in range(3):
        result(task_path=f"other.tasks.buy{number}", payload=f'[[],{{"order":{number}}}]', queue_name="slow")
    return result(
        task_path="shop.tasks.send_invoice",
        payload='[[4711],{"user":"Ann Smith"}]',
        queue_name="mail",
        status="FAILED",
        exception_class="shop.errors.NoSuchOrder",
        message="no order 4711 in Zürich: https://x/?a=1",
    )


@pytest.mark.parametrize(
    "term",
    [
        "send_invoice",
        "INVOICE",
        "shop.tasks",
        "shop.tasks.send_invoice",
        "4711",
        "order=4711",
        'user="Ann',
        '"Ann Smith"',
        "'Ann Smith'",
        "ann smith",
        'shop.tasks.send_invoice(order=4711, user="Ann Smith")',
        "mail",
        "NoSuchOrder",
        "Zürich",
        "error:NoSuchOrder",
        "error:nosuch",
        "error:Zürich",
        'error:"no order"',
        "error:order task:invoice queue:mail",
        "Task:send_invoice 4711",
        "queue:mail",
    ],
)
def test_what_the_list_shows_is_found(admin_client: Client, shown: str, term: str) -> None:
    assert ids(admin_client, q=term) == {shown}


def test_a_name_finds_jobs_of_others_than_the_registered_task_of_this_name(admin_client: Client) -> None:
    moved, here = result(task_path="old.tasks.add"), result(task_path=tasks.add.module_path)
    assert ids(admin_client, q="add") == ids(admin_client, q="task:add") == {moved, here}


@pytest.mark.parametrize(
    "term",
    ["order=47119", "user=Bob", "error:sell", "error:KeyError", "queue:mai", "task:buy9", "invoice slow", "0199e"],
)
def test_what_no_job_shows_finds_none(admin_client: Client, shown: str, term: str) -> None:
    assert ids(admin_client, q=term) == set()
    assert "No job fits." in admin_client.get(reverse(RESULTS), {"q": term}).content.decode()


def test_the_beginning_of_an_id_finds_it_by_the_primary_key(admin_client: Client) -> None:
    old = result(id="01900000-0000-7000-8000-000000000000")
    new = result(id="01950000-0000-7000-bfff-ffffffffffff")
    for length in (8, 12, 13, 18, 23, 36):
        assert ids(admin_client, q=old[:length]) == {old}
        assert ids(admin_client, q=new[:length].upper()) == {new}
        assert ids(admin_client, q=new.replace("-", "")[: max(8, length - 4)]) == {new}


def test_a_registered_path_is_looked_for_among_all(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its index; what has none is looked for in the newest rows."""
    monkeypatch.setattr(filters, "NEWEST", 2)
    old = result(task_path=tasks.add.module_path)
    lost = result(task_path="shop.tasks.long_ago")
    for _ in range(5):
        result()
    path = tasks.add.module_path
    assert ids(admin_client, q=path) == ids(admin_client, q=f"task:{path}") == {old}
    assert ids(admin_client, q="add") == ids(admin_client, q="long_ago") == set()
    assert ids(admin_client, q=lost[:13]) >= {lost}


@pytest.mark.parametrize(
    "secret", ["hunter2", "hunter", 'pin="hunter2"', "pin=hunter2", "user hunter2", "error:hunter2", "password=hunter2"]
)
def test_nothing_that_is_masked_is_found(admin_client: Client, secret: str) -> None:
    result(payload='[[1,"ann","hunter2"],{}]')
    result(payload='[[1,"ann"],{"pin":"hunter2"}]')
    result(payload='[[],{"url":"https://ann:hunter2@host/"}]')
    result(payload='[["hunter2"],{}]', headers="")  # nobody knows what of it is secret
    result(status="FAILED", exception_class="a.B", message="no answer from https://host/?password=hunter2")
    result(payload=f'[[],{{"order":1,"user":"{"x" * 5000}","pin":"hunter2"}}]')
    assert ids(admin_client, q=secret) == set()


def test_who_may_not_see_payloads_finds_nothing_by_them(shown: str) -> None:
    viewer = user("view_jobresult")
    for term in ("4711", "Zürich", "error:Zürich", '"Ann Smith"'):
        assert ids(viewer, q=term) == set(), term
    for term in ("invoice", "error:NoSuchOrder", "NoSuchOrder", "queue:mail"):
        assert ids(viewer, q=term) == {shown}, term
    page = viewer.get(reverse(RESULTS)).content.decode()
    assert "NoSuchOrder" in page
    assert not any(text in page for text in ("4711", "Zürich", "Ann"))
    page = viewer.get(reverse("admin:taskq_django_job", args=[shown])).content.decode()
    assert "NoSuchOrder" in page
    assert not any(text in page for text in ("4711", "Zürich", "Ann"))


def test_a_queued_job_is_found_by_what_its_list_shows(admin_client: Client) -> None:
    sent = tasks.add.using(queue_name="mail").enqueue(4711)
    tasks.add.enqueue(2)
    for term in (
        "4711",
        "x=4711",
        "tests.app.tasks.add(x=4711)",
        "queue:mail",
        "mail",
        "add 4711",
        sent.id[:13] + " 4711",
    ):
        assert ids(admin_client, QUEUED, q=term) == {sent.id}, term
    assert ids(admin_client, QUEUED, q="error:KeyError") == set()


# --- tabs -----------------------------------------------------------------------------------------------------------


def tabs(client: Client, name: str, **query: str) -> dict[str, str]:
    return {str(tab.label): tab.count for tab in client.get(reverse(name), query).context["cl"].tabs}


def test_tabs_tell_how_many_jobs_there_are_of_each_status(admin_client: Client, settings: Any) -> None:
    settings.TASKQ = {"ADMIN": {"COUNT_LIMIT": 3}}
    tasks.add.enqueue_many([(number,) for number in range(5)])
    tasks.explode.enqueue()
    run_all(limit=6)
    tasks.add.using(run_after=timedelta(hours=1)).enqueue(1)
    counts = {"All": "3+", "Successful": "3+", "Failed": "1", "Cancelled": "0", "Expired": "0"}
    assert tabs(admin_client, RESULTS) == tabs(admin_client, RESULTS, status="FAILED") == counts
    assert tabs(admin_client, QUEUED) == {"All": "1", "Scheduled": "1", "Ready": "0", "Running": "0"}


def test_a_tab_shows_the_jobs_that_it_counts_however_old_they_are(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(filters, "NEWEST", 2)
    settings.TASKQ = {"ADMIN": {"COUNT_LIMIT": 2, "PAGE_SIZE": 1}}
    old = {tasks.add.using(run_after=timedelta(hours=1)).enqueue(number).id for number in range(3)}
    tasks.add.enqueue_many([(number,) for number in range(5)])
    shown = ids(admin_client, QUEUED, status="SCHEDULED")
    assert (len(shown), shown <= old) == (1, True)  # of two pages
    assert "There are more than these." in admin_client.get(reverse(QUEUED), {"status": "SCHEDULED"}).content.decode()


@pytest.mark.parametrize(
    "other", [{"queue": "mail"}, {"task": tasks.explode.module_path}, {"q": "explode"}, {"q": "queue:mail"}], ids=str
)
def test_a_tab_with_a_filter_finds_what_is_not_among_the_first_of_the_tab(
    admin_client: Client, settings: Any, other: dict[str, str]
) -> None:
    settings.TASKQ = {"ADMIN": {"COUNT_LIMIT": 2}}
    tasks.add.using(queue_name="a", priority=9).enqueue_many([(number,) for number in range(5)])
    kept = tasks.explode.using(queue_name="mail").enqueue().id
    assert ids(admin_client, QUEUED, status="READY", **other) == {kept}


def test_tabs_tell_no_number_that_is_not_of_their_list(admin_client: Client) -> None:
    result()
    for query in ({"q": "sell"}, {"queue": "mail"}, {"task": "shop.tasks.sell"}):
        assert set(tabs(admin_client, RESULTS, **query).values()) == {""}


def test_a_tab_keeps_the_search_and_forgets_the_page(admin_client: Client) -> None:
    result(status="FAILED")
    changes = admin_client.get(reverse(RESULTS), {"q": "sell", "status": "FAILED"}).context["cl"]
    assert [(tab.address, tab.is_chosen) for tab in changes.tabs][:3] == [
        ("?q=sell", False),
        ("?q=sell&status=SUCCESSFUL", False),
        ("?q=sell&status=FAILED", True),
    ]


def test_of_two_filters_the_second_looks_at_the_newest_of_the_first(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "NEWEST", 2)
    result(status="FAILED", task_path=tasks.add.module_path)
    kept = result(status="FAILED", task_path=tasks.add.module_path)
    result(status="FAILED")
    for _ in range(5):
        result(task_path=tasks.add.module_path)
    assert ids(admin_client, status="FAILED", task=tasks.add.module_path) == {kept}


@pytest.mark.parametrize("few", [2, 1])
def test_the_newest_rows_are_looked_through_once_for_few_of_them(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Of filters together, too; else they would be read to be cut off, to be counted and to be shown."""
    monkeypatch.setattr(filters, "FEW", few)
    given = {"status": "FAILED", "task_path": tasks.add.module_path}
    kept = {result(**given, queue_name="mail") for _ in range(2)}
    result(**given)
    result(status="FAILED", queue_name="mail")
    with CaptureQueriesContext(connection) as asked:
        assert ids(admin_client, status="FAILED", task=tasks.add.module_path, queue="mail") == kept
    looked = [each["sql"] for each in asked if "'mail'" in each["sql"]]
    assert len(looked) == (1 if few == 2 else 3), looked  # many are soon found


@pytest.mark.parametrize("order", ["4", "-6", "6.5"])
def test_an_order_without_an_index_is_of_the_newest_and_the_page_says_so(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(filters, "NEWEST", 2)
    waiting = [tasks.add.enqueue(number).id for number in range(4)]
    note = "Only the newest 50,000 jobs are sorted so."
    sorted_so = admin_client.get(reverse(QUEUED), {"o": order})
    assert {str(row.pk) for row in sorted_so.context["cl"].result_list} == set(waiting[2:])
    assert note in sorted_so.content.decode()
    for by_id in ({}, {"o": "5"}, {"o": "-5.6"}, {"o": order, "queue": "nothing"}):
        assert note not in admin_client.get(reverse(QUEUED), by_id).content.decode(), by_id
    assert ids(admin_client, QUEUED, o="5") == set(waiting)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="of servers the plan depends on how many rows there are")
def test_lists_and_searches_walk_along_an_index(admin_client: Client) -> None:
    result(status="FAILED", exception_class="builtins.KeyError")
    for query in (
        {},
        {"status": "FAILED"},
        {"task": tasks.add.module_path},
        {"q": new_id()[:13]},
        {"q": "error:KeyError"},
    ):
        plan = admin_client.get(reverse(RESULTS), query).context["cl"].queryset.explain()
        assert "USING INDEX" in plan, (query, plan)
        assert "TEMP B-TREE" not in plan, (query, plan)


# --- order ----------------------------------------------------------------------------------------------------------


def test_queued_jobs_are_sorted_by_their_time_and_by_priority(admin_client: Client) -> None:
    late = tasks.add.using(run_after=timedelta(hours=2)).enqueue(1)
    soon = tasks.add.using(run_after=timedelta(hours=1), priority=-5).enqueue(1)
    now = tasks.add.using(priority=50).enqueue(1)
    columns = admin_client.get(reverse(QUEUED)).context["cl"].list_display

    def order(column: str, sign: str = "") -> list[str]:
        at = columns.index(column)
        changes = admin_client.get(reverse(QUEUED), {"o": f"{sign}{at}"}).context["cl"]
        return [str(row.pk) for row in changes.result_list]

    assert order("due") == [now.id, soon.id, late.id]
    assert order("due", "-") == [late.id, soon.id, now.id]
    assert order("job_priority", "-") == [now.id, late.id, soon.id]
    assert order("job_priority") == [soon.id, late.id, now.id]


# --- what is read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "words", "named"),
    [
        ("a b", ("a", "b"), {}),
        ('error:"not found" x', ("x",), {"error": "not found"}),
        ("error: x:y", ("x:y",), {}),
        ("it's", ("it's",), {}),
        ('"', ('"',), {}),
        ("(", ("(",), {}),
        ("deadbeef", ("deadbeef",), {}),
    ],
)
def test_a_term_is_read(term: str, words: tuple[str, ...], named: dict[str, str]) -> None:
    assert searching.read(term) == searching.Wanted(words, named)


def test_the_ids_of_a_beginning_are_those_of_version_7() -> None:
    least = UUID("0199e0000000700080" + "0" * 14)
    assert searching.read("0199e000-0000").ids == (least, UUID("0199e00000007fffbf" + "f" * 14))
    assert searching.read("0199e0000000f00010").ids is None  # which MariaDB refuses
