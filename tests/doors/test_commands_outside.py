"""The commands of a project whose jobs wait in Redis: while it answers, and while it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from taskq_django.brokers import Broker
from taskq_django.compat import task_backends
from taskq_django.models import CancelWish
from taskq_django.worker import banner
from taskq_django.worker.options import WorkerOptions
from tests.app import tasks
from tests.support.messages import register
from tests.support.sending import job, unused_name
from tests.support.usage import takes_at_most

if TYPE_CHECKING:
    from tests.support.redis_servers import Redis

pytestmark = pytest.mark.django_db(transaction=True)

OURS = "taskq_django.TaskqBackend"
ME = "host/me"


@pytest.fixture
def broker(redis_server: Redis, settings: Settings) -> Iterator[Broker]:
    options = {"broker": redis_server.url, "name": unused_name()}
    settings.TASKS = {"default": {"BACKEND": OURS, "OPTIONS": options}}
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    yield broker
    broker.close()


@pytest.fixture(params=["down", "frozen", "password"])
def silent(request: pytest.FixtureRequest, redis_server: Redis, settings: Settings) -> Iterator[str]:
    """How the server of the backend does not answer."""
    url = redis_server.url.replace("//", "//:geheim@") if request.param == "password" else redis_server.url
    settings.TASKS = {"default": {"BACKEND": OURS, "OPTIONS": {"broker": url, "name": unused_name()}}}
    if request.param == "frozen":
        redis_server.freeze()
    elif request.param == "down":
        redis_server.kill()
    yield request.param
    redis_server.thaw() if request.param == "frozen" else redis_server.start()


def said(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    call_command(*command)
    return capsys.readouterr().out


def refused(*command: str) -> str:
    with pytest.raises(CommandError) as error:
        call_command(*command)
    return str(error.value)


def rows(**options: Any) -> list[str]:
    """What the banner of a worker says of queues that nobody serves."""
    brokers = {"default": task_backends["default"].broker}  # type: ignore[attr-defined]
    asked = WorkerOptions(**{"name": "w", "backends": ("default",), **options})
    return [text for name, text in banner.notices(asked, brokers) if name == "unserved"]


# --- while it answers -------------------------------------------------------------------------------------------------


def test_status_counts_rows_and_messages_together(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    register(ME)
    tasks.add.enqueue_many([(number,) for number in range(5)])
    tasks.add.using(run_after=timedelta(hours=1)).enqueue(1)
    tasks.add.using(queue_name="mail").enqueue(1)
    broker.claim(["default"], 2, ME)
    call_command("taskq_pause", "mail")
    capsys.readouterr()

    found = json.loads(said(capsys, "taskq_status", "--json"))

    assert found["unanswered"] == {}
    assert [
        (each["queue"], each["ready"], each["scheduled"], each["running"], each["paused"]) for each in found["queues"]
    ] == [
        ("default", 3, 1, 2, False),
        ("mail", 1, 0, 0, True),
    ]
    assert 0 < found["queues"][0]["oldest_ready"] < 60
    assert "default/mail" in said(capsys, "taskq_status")


def test_health_counts_what_waits_in_redis(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    register(ME)
    assert said(capsys, "taskq_health", "--max-backlog", "2") == "healthy\n"

    tasks.add.enqueue_many([(number,) for number in range(3)])

    with pytest.raises(SystemExit) as ended:
        call_command("taskq_health", "--max-backlog", "2", "--max-age", "0")
    assert ended.value.code == 1
    text = capsys.readouterr().out
    assert "3 jobs ready, more than 2" in text
    assert "a job has been ready for" in text


def test_a_paused_queue_is_left_alone_until_it_is_resumed(broker: Broker) -> None:
    tasks.add.enqueue(1)
    call_command("taskq_pause", "default")
    assert broker.ready_queues() == []
    call_command("taskq_resume", "default")
    assert broker.ready_queues() == ["default"]


def test_purge_removes_both_kinds(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    tasks.add.enqueue_many([(number,) for number in range(3)])
    tasks.add.using(run_after=timedelta(hours=1)).enqueue(1)
    kept = tasks.add.using(queue_name="mail").enqueue(1)

    assert said(capsys, "taskq_purge", "default", "--no-input") == "default/default: 4 jobs removed\n"

    assert [each.queue_name for each in broker.depth()] == ["mail"]
    kept.refresh()


def test_cancel_asks_for_the_end_of_a_message_and_retry_refuses_it(
    broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tasks.add.enqueue(1)

    assert said(capsys, "taskq_cancel", result.id) == f"{result.id}: its worker will end it\n"
    assert CancelWish.objects.filter(job_id=result.id).exists()
    assert "have not ended" in refused("taskq_retry", result.id)
    unknown = job().id
    assert refused("taskq_cancel", unknown) == f"No job is known by the id {unknown}."


def test_the_banner_names_queues_of_redis_that_nobody_serves(broker: Broker) -> None:
    tasks.add.using(queue_name="mail").enqueue_many([(1,), (2,)])
    tasks.add.using(queue_name="mail", run_after=timedelta(hours=1)).enqueue(1)
    tasks.add.enqueue(1)

    assert rows(queues=("default",)) == ["default/mail (3 jobs): no live worker serves it"]
    assert rows() == []


def test_the_banner_is_quick_with_many_messages(broker: Broker, redis_server: Redis) -> None:
    for _ in range(10):
        broker.send([job(queue_name="mail") for _ in range(10_000)])

    found: list[str] = []
    assert takes_at_most(1, lambda: found.extend(rows(queues=("default",))), clock=redis_server.cpu_seconds)

    assert set(found) == {"default/mail (100000 jobs): no live worker serves it"}


# --- while it does not ------------------------------------------------------------------------------------------------


def test_what_cannot_be_done_says_in_a_line_why_and_what_to_do(silent: str, capsys: pytest.CaptureFixture[str]) -> None:
    id_ = job().id
    for command in (["status"], ["status", "--json"], ["purge", "mail", "--no-input"], ["cancel", id_]):
        text = refused(f"taskq_{command[0]}", *command[1:])
        first, *more = text.splitlines()
        assert first.startswith("default: Redis at 127.0.0.1:")
        remedy = (
            'Correct them in OPTIONS["broker"]' if silent == "password" else "is the server up, and its address right?"
        )
        assert remedy in first
        assert more == ([f"No backend that answers knows a job by the id {id_}."] if id_ in command else [])
        assert "geheim" not in text
    with pytest.raises(SystemExit) as ended:
        call_command("taskq_health")
    assert ended.value.code == 1
    assert capsys.readouterr().out.startswith("default: Redis at 127.0.0.1:")


def test_what_needs_no_engine_is_done(silent: str, capsys: pytest.CaptureFixture[str]) -> None:
    later = tasks.add.using(run_after=timedelta(hours=1)).enqueue(1)

    assert "paused" in said(capsys, "taskq_pause", "mail")
    assert "resumed" in said(capsys, "taskq_resume", "mail")
    assert said(capsys, "taskq_cancel", later.id) == f"{later.id}: cancelled\n"
    assert said(capsys, "taskq_retry", later.id) == "1 job will run again\n"


def test_rows_and_workers_are_shown_all_the_same(silent: str, capsys: pytest.CaptureFixture[str]) -> None:
    tasks.add.using(queue_name="mail", run_after=timedelta(hours=1)).enqueue(1)
    refused("taskq_status", "--json")
    found = json.loads(capsys.readouterr().out)
    assert [(each["queue"], each["scheduled"]) for each in found["queues"]] == [("mail", 1)]
    assert list(found["unanswered"]) == ["default"]

    register(ME)
    refused("taskq_status")
    text = capsys.readouterr().out
    (row,) = [line for line in text.splitlines() if line.startswith("default/mail")]
    assert row.endswith("rows alone: its engine cannot be asked")
    assert "host" in text
    assert "No worker is alive" not in text


def test_the_banner_does_not_wait_for_it(silent: str) -> None:
    tasks.add.using(queue_name="mail", run_after=timedelta(hours=1)).enqueue(1)
    if silent != "password":  # as at a start
        assert takes_at_most(3, task_backends["default"].broker.ready_queues)  # type: ignore[attr-defined]

    found: list[str] = []
    assert takes_at_most(1, lambda: found.extend(rows(queues=("default",))))

    assert set(found) == {"default/mail (1 job): no live worker serves it"}


def test_a_worker_starts_and_says_that_it_serves_the_database_alone(
    silent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("taskq_worker", "--processes", "0", "--burst", "--no-reload")
    if silent == "password":
        assert "refuses the user or the password" in refused(*arguments)
        return
    with pytest.raises(SystemExit) as ended:
        call_command(*arguments)
    assert ended.value.code == 69
    assert "The engine does not answer: the jobs of the database are run meanwhile" in capsys.readouterr().out
