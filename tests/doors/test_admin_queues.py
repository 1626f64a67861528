"""The page of queues, and acts on them."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from taskq_django.models import JobCounts, PausedQueue, QueuedJob, WorkerProcess
from taskq_django.models.moments import DatabaseNow
from taskq_django.store.counts import Kind, Spans, Tally
from tests.app import tasks
from tests.support.schedule_pages import texts, user

pytestmark = pytest.mark.django_db

EVIL = "<script>alert(1)</script>"
AT = {"backend": "default", "queue": "mail"}


def url(what: str = "changelist") -> str:
    return reverse(f"admin:taskq_django_queue_{what}")


def rows(client: Client) -> dict[str, list[str]]:
    """The cells of each queue as text, by its name."""
    answer = client.get(url())
    assert answer.status_code == 200
    body = answer.content.decode().partition("<tbody>")[2].partition("</tbody>")[0]
    found = {}
    for row in re.findall("<tr>(.*?)</tr>", body, re.DOTALL):
        row = row.replace("<br>", " ")
        cells = re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        name, *rest = [" ".join(unescape(re.sub("<[^>]*>", "", cell)).split()) for cell in cells]
        found[name] = rest
    return found


def post(client: Client, verb: str, **more: str) -> Any:
    return client.post(url(verb), {**AT, **more}, follow=True)


def serve(**more: Any) -> None:
    given = {"name": "w", "host": "h", "pid": 1, "started_at": DatabaseNow(), "seen_at": DatabaseNow()}
    WorkerProcess.objects.create(id="w", **given, **more)


def test_each_queue_has_its_figures(admin_client: Client) -> None:
    tasks.add.using(queue_name="mail").enqueue_many([(n,) for n in range(3)])
    tasks.add.using(queue_name="mail", run_after=timedelta(hours=1)).enqueue(1)
    serve(queues="mail")
    Spans("w", "default").add({Kind("default", "mail", "t"): Tally(ends=[6, 3, 5, 0])})
    JobCounts.objects.update(begins_at=DatabaseNow(-60))  # this minute is over

    found = rows(admin_client)

    assert found["mail"][:3] == ["3", "0", "1"]
    assert found["mail"][4:7] == ["1.8 0.6 failed", "≈ 1 min 40 s", "1"]
    assert found["default"][6] == "0", "nothing waits there"


@pytest.mark.parametrize(
    "given",
    [{"excluded": "mail"}, {"queues": "default"}, {"backends": "other"}, {"state": "QUIET"}],
    ids=lambda each: str(*each),
)
def test_a_queue_that_nobody_serves_is_marked(admin_client: Client, given: dict[str, str]) -> None:
    tasks.add.using(queue_name="mail").enqueue(1)
    serve(**given)
    assert rows(admin_client)["mail"][6] == "none"


def test_a_pause_has_a_reason_and_an_end(admin_client: Client) -> None:
    answer = post(admin_client, "pause", seconds="3600", reason=f"the provider is down {EVIL}")

    pause = PausedQueue.objects.get()
    assert pause.until - pause.paused_at > timedelta(minutes=59)  # type: ignore[operator]
    page = answer.content.decode()
    assert "Paused" in page
    assert "the provider is down" in page
    assert EVIL not in page
    assert LogEntry.objects.get().object_repr == "default/mail"
    assert texts(post(admin_client, "resume")) == ["mail goes on."]
    assert not PausedQueue.objects.exists()
    assert texts(post(admin_client, "resume")) == ["mail was not paused."]


@pytest.mark.parametrize(
    "more", [{"seconds": "1"}, {"seconds": "", "backend": "gone"}, {"seconds": "", "queue": "no queue!"}]
)
def test_what_is_no_pause_is_refused(admin_client: Client, more: dict[str, str]) -> None:
    assert len(texts(post(admin_client, "pause", **more))) == 1
    assert not PausedQueue.objects.exists()
    assert not LogEntry.objects.exists()


def test_a_purge_wants_the_name_of_the_queue(admin_client: Client) -> None:
    tasks.add.using(queue_name="mail").enqueue(1)
    tasks.add.enqueue(1)

    assert "Remove 1 job that waits in default/mail for ever?" in post(admin_client, "purge").content.decode()
    assert "That is not its name." in post(admin_client, "purge", typed="default").content.decode()
    assert QueuedJob.objects.count() == 2

    assert texts(post(admin_client, "purge", typed="mail")) == ["1 job was removed."]
    assert QueuedJob.objects.get().queue_name == "default"
    assert LogEntry.objects.get().change_message == "1 job was removed."


def test_each_verb_has_its_permission() -> None:
    tasks.add.using(queue_name="mail").enqueue(1)
    seen, controls = (
        user("view_queue", *more).get(url(), {"_fragment": "1"}).content.decode() for more in ([], ["control_queue"])
    )
    assert "<button" not in seen
    assert (url("pause") in controls, url("purge") in controls) == (True, False)
