"""What Sentry's own SDK sends of jobs and schedules."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import AppConfig

pytest.importorskip("sentry_sdk")
import sentry_sdk

from taskq_django import Retry, signals, task
from taskq_django.models import QueuedJob, Schedule
from taskq_django.testing import run_all
from tests.app import tasks

pytestmark = pytest.mark.django_db

UID = "taskq_django.contrib.sentry"
SECRET = "".join(["hun", "ter2"])  # Sentry sends lines of source too


class Kept(sentry_sdk.Transport):
    """Sends nothing."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.envelopes: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.envelopes.append(envelope)

    def items(self, kind: str) -> list[dict[str, Any]]:
        found = [item for envelope in self.envelopes for item in envelope.items if item.type == kind]
        return [json.loads(item.payload.get_bytes()) for item in found]

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.items("event")

    @property
    def check_ins(self) -> list[dict[str, Any]]:
        return self.items("check_in")


@pytest.fixture
def sent() -> Iterator[Kept]:
    kept = Kept()
    with sentry_sdk.isolation_scope():
        sentry_sdk.init(dsn="http://key@localhost/1", transport=kept, default_integrations=True)
        AppConfig.create(UID).ready()
        yield kept
        for signal in (signals.before_run, signals.run_failed, signals.after_run, signals.worker_stopping):
            signal.disconnect(dispatch_uid=UID)
        sentry_sdk.init()  # without a dsn nothing is sent
    logging.getLogger("sentry_sdk.errors").disabled = False


def explode(pin: str, told: str = "shown") -> None:
    raise LookupError("no such order")


def explode_later(pin: str) -> None:
    raise Retry(delay=3600)


@pytest.mark.parametrize("names", [[], ["pin"]])
def test_a_job_that_fails_is_one_event_with_its_task(sent: Kept, names: list[str]) -> None:
    registered = task(explode, sensitive=names)
    result = registered.using(queue_name="mail").enqueue(SECRET)
    run_all()
    [event] = sent.events
    assert event["transaction"] == registered.module_path
    assert event["tags"] == {
        "taskq.task": registered.module_path,
        "taskq.queue": "mail",
        "taskq.backend": "default",
    }
    assert (event["contexts"]["job"]["id"], event["contexts"]["job"]["attempt"]) == (result.id, 1)
    [error] = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("LookupError", "no such order")
    frames = error["stacktrace"]["frames"]
    assert frames[-1]["function"] == "explode"
    assert "taskq_django" not in {frame["module"].partition(".")[0] for frame in frames}, "only the task's frames"
    assert frames[-1]["vars"]["told"] == "'shown'"
    assert (SECRET in json.dumps(event)) is (names == [])


@pytest.mark.parametrize(
    "headers",
    ['{"schedule":{"id":"x","name":"y"}}', '{"schedule":5}', '["schedule"]', '{"schedule":{"id":[],"name":{}}}'],
)
def test_headers_by_another_hand_fail_no_job(sent: Kept, headers: str) -> None:
    job = tasks.add.enqueue(1)
    QueuedJob.objects.filter(pk=job.id).update(headers=headers)
    run_all()
    assert job.get(timeout=0) == 3


def test_a_receiver_that_fails_tells_no_secret_of_the_job(sent: Kept) -> None:
    def broken(**given: Any) -> None:
        raise RuntimeError("broken")

    signals.run_failed.connect(broken)
    task(explode, sensitive=["pin"]).enqueue(SECRET)
    run_all()
    signals.run_failed.disconnect(broken)
    assert {error["type"] for event in sent.events for error in event["exception"]["values"]} >= {"RuntimeError"}
    for event in sent.events:
        for key, value in event.items():
            assert SECRET not in json.dumps(value), (event.get("logger"), key, json.dumps(value)[:3000])


def test_a_process_that_ends_waits_for_what_is_not_sent_yet(sent: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[float] = []
    monkeypatch.setattr(sentry_sdk, "flush", flushed.append)
    signals.worker_stopping.announce(None, worker_id="w")
    assert flushed == [2.0]


def test_a_try_that_is_followed_by_another_is_no_event(sent: Kept) -> None:
    task(explode_later).enqueue("x")
    run_all()
    assert sent.events == []


def test_a_job_that_succeeds_is_no_event(sent: Kept) -> None:
    tasks.add.enqueue(1)
    run_all()
    assert (sent.events, sent.check_ins) == ([], [])


def test_a_job_whose_process_has_died_is_an_event_of_its_task(sent: Kept, taskq: Any) -> None:
    taskq.lose_a_claim(tasks.die_once.enqueue())
    [event] = sent.events
    assert event["fingerprint"] == ["taskq-worker-lost", tasks.die_once.module_path]
    assert event["tags"]["taskq.task"] == tasks.die_once.module_path


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        ("cron", "*/2 * * * *", {"type": "crontab", "value": "*/2 * * * *"}),
        ("interval", "2 minutes", {"type": "interval", "value": 2, "unit": "minute"}),
        ("interval", "1 minute 30 seconds", None),
    ],
)
def test_each_slot_of_a_schedule_checks_in_and_out(
    sent: Kept, taskq: Any, kind: str, spec: str, expected: dict[str, Any] | None
) -> None:
    schedule = Schedule.objects.create(
        name="Nightly run", task_path=tasks.add.module_path, args=[1], kind=kind, spec=spec, timezone="Europe/Berlin"
    )
    taskq.advance(to=schedule.next_run_at)
    taskq.tick(schedule)  # not those that other tests declare
    run_all()
    begun, ended = sent.check_ins
    assert (begun["status"], ended["status"]) == ("in_progress", "ok")
    assert begun["monitor_slug"] == ended["monitor_slug"] == f"taskq-{schedule.pk}-nightly-run"
    assert begun["check_in_id"] == ended["check_in_id"]
    assert begun.get("monitor_config", {}).get("schedule") == expected
    assert ended["duration"] >= 0


def test_a_slot_whose_job_fails_checks_out_as_an_error(sent: Kept, taskq: Any) -> None:
    registered = task(explode)
    schedule = Schedule.objects.create(
        name="n" * 200, task_path=registered.module_path, args=["x"], kind="interval", spec="1 minute"
    )
    taskq.advance(to=schedule.next_run_at)
    taskq.tick(schedule)  # not those that other tests declare
    run_all()
    assert [each["status"] for each in sent.check_ins] == ["in_progress", "error"]
    assert len(sent.check_ins[0]["monitor_slug"]) <= 50
    assert len(sent.events) == 1
