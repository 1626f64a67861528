"""The page of one job: its story step by step, its texts, and where it leads."""

from __future__ import annotations

import json
import re
import traceback
from datetime import UTC, datetime
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from taskq_django import task
from taskq_django.admin import display, filters
from taskq_django.admin.tracebacks import parts_of
from taskq_django.backoff import Backoff
from taskq_django.beat.firing import run_now
from taskq_django.compat import task_backends
from taskq_django.exceptions import WorkerLost
from taskq_django.models import JobResult, QueuedJob
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.schedule_pages import schedule, user

pytestmark = [pytest.mark.pages, pytest.mark.django_db]


@task(max_attempts=5, backoff=Backoff(first=3600, factor=1, cap=3600, jitter=False))
def stubborn() -> None:
    json.loads("{")


@task
def echo_all(**values: Any) -> Any:
    return values


def page_of(client: Client, id_: object) -> str:
    answer = client.get(reverse("admin:taskq_django_job", args=[id_]))
    assert answer.status_code == 200
    return answer.content.decode()


def words(page: str) -> str:
    """The text that a reader sees."""
    text = re.sub(r"<[^>]+>", " ", page.partition('id="content"')[2])
    return re.sub(r"\s+", " ", unescape(text))


def test_a_retry_tells_which_it_is_and_when(admin_client: Client) -> None:
    sent = stubborn.enqueue()
    run_all(limit=1)
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    for _ in range(2):
        broker.reschedule([sent.id], None)
        run_all(limit=1)

    text = words(page_of(admin_client, sent.id)).replace(display.NBSP, " ")

    failed = " .* ".join(f"Attempt {number} failed" for number in (1, 2, 3))
    assert re.search(rf"{failed} .* Retry 3 of 4 .* in (5\d min|1 h)", text)
    assert "Attempts 3 of 5" in text
    assert re.search(r"Attempt 2 failed [\d: -]+ \d+ \w+ ago took \d+\.\d{3} s on run_all", text)


def test_the_frames_of_libraries_are_folded_and_the_users_are_open(admin_client: Client) -> None:
    sent = stubborn.enqueue()
    run_all(limit=1)
    page = page_of(admin_client, sent.id)
    folded = re.search(r"<summary>\d+ frames of libraries</summary><pre[^>]*>(.*?)</pre>", page, re.DOTALL)
    assert folded
    assert "json" in folded[1]
    assert "test_job_page.py" not in folded[1]
    assert re.search(r"<pre[^>]*>[^<]*test_job_page\.py[^<]*json\.loads[^<]*</pre>\s*<details><summary>", page)


def test_an_attempt_without_a_traceback_has_no_empty_box(admin_client: Client) -> None:
    sent = tasks.explode.enqueue()
    run_all()
    path = f"{WorkerLost.__module__}.{WorkerLost.__qualname__}"
    JobResult.objects.update(exception_class=path, message="w1 is gone")
    page = page_of(admin_client, sent.id)
    assert "w1 is gone" in page
    assert not re.search(r"<pre[^>]*>\s*</pre>", page)


def test_arguments_and_result_are_json(admin_client: Client) -> None:
    given = {
        "when": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        "amount": Decimal("1.10"),
        "many": (1, 2),
        "big": 2**70,
        "data": b"ab",
    }
    sent = echo_all.enqueue(**given)
    run_all()
    shown = re.findall(r"<pre[^>]*>(.*?)</pre>", page_of(admin_client, sent.id), re.DOTALL)
    expected = {
        "when": "2026-01-02T03:04:05.000006+00:00",
        "amount": "1.10",
        "many": [1, 2],
        "big": 2**70,
        "data": "YWI=",
    }
    assert [json.loads(unescape(text)) for text in shown] == [expected, expected]


def test_what_is_long_is_folded(admin_client: Client) -> None:
    sent = echo_all.enqueue(a="x" * 3000)
    page = page_of(admin_client, sent.id)
    assert '<details class="taskq-panel" data-copy' in page
    assert '<details class="taskq-panel" open' in page_of(admin_client, echo_all.enqueue(a=1).id)


def test_the_page_leads_to_its_schedule_its_task_and_its_queue(admin_client: Client) -> None:
    row = schedule(name="nightly <b>")
    job_id = run_now(row, "default").job.id
    page = page_of(admin_client, job_id)
    assert f'href="{reverse("admin:taskq_django_schedule_change", args=[row.pk])}">nightly &lt;b&gt; (' in page
    queued = reverse("admin:taskq_django_queuedjob_changelist")
    assert f'href="{queued}?task=tests.app.tasks.add"' in page
    assert f'href="{queued}?queue=default"' in page

    page = page_of(user("view_queuedjob"), job_id)
    assert "nightly &lt;b&gt; (" in page
    assert "/schedule/" not in page


def test_a_job_names_itself_with_its_arguments(admin_client: Client) -> None:
    sent = tasks.log_in.enqueue("ann", "hunter2", options={"a": 1}, pin="pin_zz")
    title = re.search(r"<h1><bdi>(.*?)</bdi></h1>", page_of(admin_client, sent.id))
    assert title
    assert unescape(title[1]).startswith('tests.app.tasks.log_in(user="ann", password="••••", options={"a": 1}')


def test_times_are_relative_with_the_exact_one_and_its_zone(admin_client: Client) -> None:
    sent = tasks.add.enqueue(1)
    row = QueuedJob.objects.get()
    listed = admin_client.get(reverse("admin:taskq_django_queuedjob_changelist")).content.decode()
    for page in (page_of(admin_client, sent.id), listed):
        found = re.search(r'<time datetime="([^"]*)" title="[\d-]+ [\d:]+ Europe/Berlin">\d+[^<]*ago</time>', page)
        assert found
        assert found[1] == row.enqueued_at.isoformat()


# --- tracebacks -----------------------------------------------------------------------------------------------------


def folded(text: str) -> list[int]:
    return [part.folded for part in parts_of(text)]


def test_the_parts_of_a_traceback_are_the_whole_of_it() -> None:
    try:
        try:
            json.loads("{")
        except ValueError as error:
            raise ExceptionGroup("several", [KeyError("x"), error]) from error
    except ExceptionGroup as error:
        text = "".join(traceback.format_exception(error)).rstrip("\n")
    assert "\n".join(part.text for part in parts_of(text)) == text
    assert sum(folded(text)) >= 6  # three frames of json, twice


FRAME = '  File "{}", line 1, in f\n    x = 1\n    ~~^~~\n'


@pytest.mark.parametrize(
    ("path", "is_library"),
    [
        ("/srv/shop/tasks.py", False),
        ("/srv/lib/shop/tasks.py", False),
        ("/usr/lib/python3.13/json/decoder.py", True),
        ("/srv/venv/lib/python3.13/site-packages/requests/api.py", True),
        ("/usr/lib/python3/dist-packages/requests/api.py", True),
        ("C:\\\\Program Files\\\\Python313\\\\Lib\\\\json\\\\decoder.py", True),
        ("<frozen importlib._bootstrap>", True),
        ("<string>", False),
    ],
    ids=range(8),
)
def test_a_frame_is_a_librarys_by_its_path(path: str, is_library: bool) -> None:
    text = f"Traceback (most recent call last):\n{FRAME.format(path)}KeyError: 1"
    assert folded(text) == ([0, 1, 0] if is_library else [0])


@pytest.mark.parametrize("text", ["", "\n", "no traceback", 'KeyError:   File "x"\n  y', '  File "a", line 1' * 3])
def test_what_is_no_traceback_is_shown(text: str) -> None:
    assert "\n".join(part.text for part in parts_of(text)) == text.rstrip("\n")


def test_the_history_is_looked_for_among_the_newest_entries_and_says_so(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = tasks.add.using(run_after=3600).enqueue(1)
    for due in ("2031-01-01T10:00", "2032-01-01T10:00", "2033-01-01T10:00"):
        admin_client.post(reverse("admin:taskq_django_job_reschedule", args=[sent.id]), {"due": due})
    history = page_of(admin_client, sent.id).partition('id="history"')[2]
    assert ("Due at 2031" in history, "Due at 2033" in history, "Of the newest" in history) == (True, True, False)

    monkeypatch.setattr(filters, "NEWEST", 2)
    history = page_of(admin_client, sent.id).partition('id="history"')[2]
    assert ("Due at 2031" in history, "Due at 2033" in history, "Of the newest" in history) == (False, True, True)
    never_touched = page_of(admin_client, tasks.add.enqueue(1).id)
    assert "Of the newest 50,000 entries in the history of the admin." in never_touched
