"""The next runs, as the form of a schedule shows them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from tests.support.schedule_pages import raw, schedule, sent, url

pytestmark = [pytest.mark.pages, pytest.mark.django_db]

BERLIN = {"timezone": "Europe/Berlin", "kind": "cron"}


def preview(client: Client, **query: str) -> str:
    answer = client.get(url("preview"), {**BERLIN, **query})
    assert answer.status_code == 200
    return answer.content.decode()


def cells(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition("<tbody>")[2], re.DOTALL)
    return [
        [" ".join(re.sub(r"<[^>]+>", "", cell).split()) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
        for row in rows
    ]


def test_a_cron_expression_in_words_with_its_next_ten_runs(admin_client: Client) -> None:
    page = preview(admin_client, spec="0 9 * * 1-5", start="2027-03-24 00:00")
    assert "At 09:00, Monday through Friday" in page
    rows = cells(page)
    assert [row[:2] for row in rows] == [
        ["Wed 2027-03-24 09:00", "+01:00"],
        ["Thu 2027-03-25 09:00", "+01:00"],
        ["Fri 2027-03-26 09:00", "+01:00"],
        ["Mon 2027-03-29 09:00", "+02:00"],
        ["Tue 2027-03-30 09:00", "+02:00"],
        ["Wed 2027-03-31 09:00", "+02:00"],
        ["Thu 2027-04-01 09:00", "+02:00"],
        ["Fri 2027-04-02 09:00", "+02:00"],
        ["Mon 2027-04-05 09:00", "+02:00"],
        ["Tue 2027-04-06 09:00", "+02:00"],
    ]
    assert rows[3][4] == "DST the clocks have changed"
    assert not any(row[4] for row in rows[:3] + rows[4:])


def test_a_time_that_does_not_exist_is_marked(admin_client: Client) -> None:
    rows = cells(preview(admin_client, spec="30 2 * * *", start="2027-03-27 00:00"))
    assert rows[1][0] == "Sun 2027-03-28 03:00"
    assert rows[1][4] == "DST 02:30 does not exist on 28 Mar: runs at 03:00"


def test_a_time_that_comes_twice_is_marked(admin_client: Client) -> None:
    rows = cells(preview(admin_client, spec="30 2 * * *", start="2027-10-30 00:00"))
    assert rows[1][4] == "DST 02:30 comes twice on 31 Oct: runs the first time only"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"spec": "61 * * * *"}, "is no minute: it is out of range"),
        ({"spec": "0 0 30 2 *"}, "never fires"),
        ({"spec": "0 0 * *"}, "must have five"),
        ({"spec": "x" * 40_000}, "at most 100 characters"),
        ({"spec": "0 3 * * *", "timezone": "Europe/Berln"}, "Did you mean &quot;Europe/Berlin&quot;?"),
        ({"spec": "0 3 * * *", "timezone": "../../etc/passwd"}, "There is no time zone"),
        ({"spec": "0 3 * * *", "kind": "hourly"}, "There is no kind"),
        ({"kind": "once", "spec": "2020-01-01 00:00"}, "no run to come: this moment is past"),
        ({"spec": "0 3 * * *", "max_runs": "1", "ran": "1"}, "no run to come: its only run was made"),
        ({"spec": "0 3 * * *", "max_runs": "5", "ran": "7"}, "no run to come: all of its 5 runs were made"),
        ({"spec": "0 3 * * *", "end": "2026-01-01 00:00"}, "no run to come: its end is past, 2026-01-01 00:00:00"),
        ({"kind": "interval", "spec": "0 minutes"}, "at least 1 second"),
        ({"spec": "0 3 * * *", "start": "2030-01-02 00:00", "end": "2030-01-01 00:00"}, "no run to come"),
    ],
)
def test_what_is_wrong_is_said(admin_client: Client, query: dict[str, str], said: str) -> None:
    page = preview(admin_client, **query)
    assert "taskq-problem" in page
    assert said in page


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("*/90 * * * *", "a step of 90 leaves the first value only"),
        ("0 */5 * * *", "begins anew each day"),
        ("0 0 1 * 1", "either of them matches"),
        ("* 9 * * *", "inute"),
        ("0 0 31 * *", "L is the last day"),
    ],
)
def test_what_its_author_may_not_have_meant_is_said(admin_client: Client, spec: str, said: str) -> None:
    page = preview(admin_client, spec=spec)
    assert "taskq-lint" in page
    assert said in page
    assert len(cells(page)) == 10


@pytest.mark.parametrize("name", ["start", "end", "anchor"])
@pytest.mark.parametrize("kind", ["cron", "interval", "once"])
@pytest.mark.parametrize("text", ["soon", "2030-13-01", "0001-01-01 00:00", "9999-12-31 23:59", "\0", "1" * 5000])
def test_no_moment_breaks_the_preview(admin_client: Client, name: str, kind: str, text: str) -> None:
    spec = {"cron": "0 3 * * *", "interval": "5 minutes", "once": "2999-01-01 00:00"}[kind]
    preview(admin_client, kind=kind, spec=spec, timezone="Pacific/Kiritimati", **{name: text})


def test_an_interval_counts_from_when_the_schedule_was_made(admin_client: Client) -> None:
    made = datetime.now(UTC).replace(second=7, microsecond=0) - timedelta(minutes=3)
    row = raw(schedule(kind="interval", spec="5 minutes"), created_at=made)
    page = admin_client.get(url("change", row)).content.decode()
    (anchor,) = re.findall(r'data-anchor="([^"]+)"', page)
    assert datetime.fromisoformat(anchor) == made
    live = cells(preview(admin_client, kind="interval", spec="5 minutes", anchor=anchor))
    assert live[0][0] == cells(page.partition('id="taskq-preview"')[2])[0][0]
    assert live[0][0].endswith(":07")


def test_the_form_shows_the_preview_of_what_is_stored_and_of_what_was_sent(admin_client: Client) -> None:
    row = schedule(spec="0 9 * * 1-5")
    assert "At 09:00, Monday through Friday" in admin_client.get(url("change", row)).content.decode()
    answer: Any = admin_client.post(url("add"), sent(name="", spec="0 4 * * *"))
    assert "At 04:00" in answer.content.decode()


@pytest.mark.parametrize(
    ("query", "said", "runs"),
    [
        ({"max_runs": "5", "ran": "2"}, "It runs 5 times in all: these are the last runs.", 3),
        ({"max_runs": "50", "ran": "2"}, "", 10),
        ({"start": "2030-01-01 00:00", "end": "2030-01-03 12:00"}, "It ends 2030-01-03 12:00:00", 3),
        ({"jitter": "90"}, "Each run is put off by a random part of 1 min 30 s.", 10),
        ({"enabled": "false"}, "It is disabled: these are the runs that it would have.", 10),
        ({"max_runs": "x", "ran": "-1", "jitter": "9" * 20}, "", 10),
    ],
)
def test_the_limits_of_a_schedule_are_in_its_preview(
    admin_client: Client, query: dict[str, str], said: str, runs: int
) -> None:
    page = preview(admin_client, spec="0 3 * * *", **query).replace("\xa0", " ")
    assert said in page
    assert ("taskq-lint" in page) == bool(said)
    assert len(cells(page)) == runs


def test_what_says_nothing_has_no_preview(admin_client: Client) -> None:
    assert "The next ten runs appear here." in preview(admin_client, spec=" ")


def test_a_finished_schedule_says_why_it_has_no_run_to_come(admin_client: Client) -> None:
    row = raw(schedule(max_runs=3), run_count=3, is_finished=True, next_run_at=None)
    page = admin_client.get(url("change", row)).content.decode()
    assert "There is no run to come: all of its 3 runs were made." in page
    assert 'data-ran="3"' in page


def test_your_time_is_a_column_only_where_it_is_another(admin_client: Client, settings: Any) -> None:
    settings.TIME_ZONE = "UTC"
    assert 'class="taskq-yours" hidden' not in preview(admin_client, spec="0 3 * * *")
    assert 'class="taskq-yours">' not in preview(admin_client, spec="0 3 * * *", timezone="Etc/UTC")


def test_an_interval_is_shown_by_the_clocks_of_the_reader(admin_client: Client, settings: Any) -> None:
    settings.TIME_ZONE = "UTC"
    page = preview(admin_client, kind="interval", spec="1 hour")
    assert '<th scope="col">UTC</th>' in page
    assert "Europe/Berlin" not in page
