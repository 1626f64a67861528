"""What the commands answer to who has mistyped, to who has much, and where nothing has been migrated."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.db import connection
from django.utils import timezone

from taskq_django.beat import declared
from taskq_django.jobs import new_id
from taskq_django.models import JobResult, QueuedJob, Schedule, WorkerProcess
from taskq_django.models.moments import DatabaseNow
from taskq_django.registry import registry
from taskq_django.store import pruning
from taskq_django.testing import run_all
from tests.app import tasks

pytestmark = pytest.mark.django_db

OURS = {"BACKEND": "taskq_django.TaskqBackend"}
Say = Callable[..., tuple[str, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """What a command prints, what it prints as a warning, and what it refuses."""

    def call(*command: str) -> tuple[str, str, str]:
        refused = ""
        try:
            call_command(*command)
        except CommandError as error:
            refused = str(error)
        said = capsys.readouterr()
        return said.out, said.err, refused

    return call


# --- without tables ---------------------------------------------------------------------------------------------------


SOME_ID = "01a22c63-6077-74a2-bcbe-e44b9f573594"  # one for all runs, because it is in the names of tests


@pytest.fixture
def unmigrated() -> Iterator[None]:
    """No table of ours is there; what is renamed comes back with the transaction of the test."""
    names = [name for name in connection.introspection.table_names() if name.startswith("taskq_django_")]
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"ALTER TABLE {name} RENAME TO gone_{name}")
    yield
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"ALTER TABLE gone_{name} RENAME TO {name}")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "command",
    [
        "schedules list", "schedules next x", "schedules run x", "schedules sync", "schedules check",
        "schedules export", "enqueue tests.app.tasks.add 1", "status",
        f"retry {SOME_ID}", "retry --failed", f"cancel {SOME_ID}", "prune", "prune --dry-run", "pause x", "resume x",
        "purge x --no-input", "new_store_id --no-input",
    ],
)  # fmt: skip
def test_without_tables_each_command_names_the_one_to_type_first(command: str, unmigrated: None, say: Say) -> None:
    _, _, refused = say(*f"taskq_{command}".split())

    assert "`manage.py migrate" in refused
    assert "does not answer" not in refused


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("flag", ["--once", "--dry-run"])
def test_a_beat_that_runs_once_waits_for_no_migration(flag: str, monkeypatch: pytest.MonkeyPatch, say: Say) -> None:
    from taskq_django.management import starting

    monkeypatch.setattr(starting, "_pending", lambda database: ["0001_initial"])
    monkeypatch.setattr(starting.time, "sleep", lambda seconds: pytest.fail("it waits"))

    assert "`manage.py migrate taskq_django --database default`" in say("taskq_beat", flag)[2]


# --- mistyped ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "done"), [("pause", "paused"), ("resume", "was not paused"), ("purge", "0 jobs")])
def test_a_queue_that_nobody_knows_is_acted_on_and_doubted(command: str, done: str, say: Say) -> None:
    tasks.add.using(queue_name="newsletters").enqueue(1)

    out, warning, refused = say(f"taskq_{command}", "newsleters", *["--no-input"] * (command == "purge"))

    assert (out.startswith(f"default/newsleters: {done}"), refused) == (True, "")
    assert warning == 'No task and no job is in a queue "newsleters". Did you mean "newsletters"?\n'


def test_a_queue_is_not_doubted_of_which_a_task_a_job_a_pause_or_a_backend_has_the_name(
    say: Say, settings: Any
) -> None:
    tasks.add.using(queue_name="of-a-job").enqueue(1)
    say("taskq_pause", "paused-before")
    settings.TASKS = {"default": {**OURS, "QUEUES": ["default", "of-a-backend"]}}
    of_a_task = next(iter({task.queue_name for task in registry.all()}))

    for queue in ("of-a-job", "paused-before", "of-a-backend", of_a_task):
        assert say("taskq_resume", queue)[1] == ""


def test_what_cannot_be_retried_is_told_apart(say: Say) -> None:
    done, failed = tasks.add.enqueue(1), tasks.explode.enqueue()
    run_all()
    waiting, unknown = tasks.add.enqueue(2), new_id()

    out, _, refused = say("taskq_retry", "nope", done.id, failed.id, waiting.id, unknown)

    assert out == "1 job will run again\n"
    assert refused == (
        f"Have succeeded, and run again by a new enqueue only: {done.id}. These have not ended: {waiting.id}. "
        f"No backend that answers knows a job by the id {', '.join(sorted([unknown, 'nope']))}."
    )


def test_a_task_and_a_queue_of_which_nothing_failed_may_be_misspelt(say: Say) -> None:
    out, warning, _ = say("taskq_retry", "--failed", "--task", "tests.app.tasks.explod", "--queue", "defualt")
    assert out == "0 jobs will run again\n"
    assert 'Did you mean "tests.app.tasks.explode"?' in warning
    assert 'Did you mean "default"?' in warning
    assert say("taskq_retry", "--failed", "--task", "tests.app.tasks.explode")[1] == ""


@pytest.mark.parametrize("verb", ["next", "run", "enable", "disable"])
def test_a_schedule_that_is_not_there_has_a_nearest_one(verb: str, say: Say) -> None:
    Schedule.objects.create(name="Schedule of mails", task_path=tasks.add.module_path, args=[1], spec="0 3 * * *")
    *_, refused = say("taskq_schedules", verb, "Schedule of mail")
    assert refused.startswith("There is no schedule 'Schedule of mail'. Did you mean \"Schedule of mails\"? ")


@pytest.mark.parametrize(
    "command",
    [
        "retry --failed --limit -5", "retry --failed --limit 0", "schedules next x --count -1", "health --max-age -1",
        "health --max-age nan", "health --max-backlog -1", "health --min-workers -1", "worker --max-tasks 0",
        "worker --grace -1",
    ],
)  # fmt: skip
def test_a_number_that_cannot_be_meant_is_refused_with_those_that_can(command: str, say: Say) -> None:
    *_, refused = say(*f"taskq_{command}".split())
    assert "it must be a" in refused
    assert "timedelta" not in refused


def test_help_tells_units_and_how_to_give_several_queues() -> None:
    parser = load_command_class("taskq_django", "taskq_worker").create_parser("", "taskq_worker")
    text = " ".join(parser.format_help().split())
    for part in ("--grace SECONDS", "--max-memory-per-child MIB", "--threads N", "--queues NAME,NAME"):
        assert part in text
    assert parser.parse_args(["-Q", "mail,video", "-Q", "default"]).queues == ["mail", "video", "default"]


# --- much -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["taskq_cancel", "taskq_retry"])
def test_ids_come_from_standard_input_too_and_an_error_names_the_first_ones(
    command: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [tasks.add.enqueue(number).id for number in range(3)]
    if command == "taskq_retry":
        call_command("taskq_cancel", *known)
        say("taskq_status")
    unknown = sorted(new_id() for _ in range(500))
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join([*known[1:], *unknown])))

    out, _, refused = say(command, known[0], "-")

    assert out.count("cancelled") == 3 if command == "taskq_cancel" else out == "3 jobs will run again\n"
    assert f"{', '.join(unknown[:10])} and 490 more." in refused
    assert unknown[10] not in refused


def test_status_shows_ages_as_people_say_them(say: Say) -> None:
    tasks.add.enqueue(1)
    QueuedJob.objects.update(available_at=DatabaseNow(-1000))
    WorkerProcess.objects.create(
        id="a", name="a", host="h", pid=1, started_at=DatabaseNow(), seen_at=DatabaseNow(-90_000)
    )
    out = say("taskq_status")[0]
    assert re.search(r"\b1[67] min", out)
    assert "1 d 1 h" in out


# --- of one backend ---------------------------------------------------------------------------------------------------


def test_a_prune_of_one_backend_leaves_the_results_of_the_others(say: Say, settings: Any) -> None:
    settings.TASKS = {"default": OURS, "fast": OURS}
    ids = {}
    for alias in ("default", "fast"):
        ids[alias] = tasks.explode.using(backend=alias).enqueue().id
    run_all()
    then = timezone.now() - timedelta(days=40)
    for number, id_ in enumerate(ids.values()):
        moved = pruning.first_id(then.timestamp() + number)
        JobResult.objects.filter(id=id_).update(id=moved, finished_at=then)

    assert say("taskq_prune", "--backend", "fast", "--dry-run")[0] == "default: 1 result would be removed\n"
    call_command("taskq_prune", "--backend", "fast")

    assert list(JobResult.objects.values_list("backend", flat=True)) == ["default"]
    assert say("taskq_prune")[0].startswith("default: ")
    assert not JobResult.objects.exists()


def test_health_of_one_backend_counts_its_workers_only(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.TASKS = {"default": OURS, "fast": OURS}
    WorkerProcess.objects.create(
        id="a", name="a", host="h", pid=1, backends="default", started_at=DatabaseNow(), seen_at=DatabaseNow()
    )
    call_command("taskq_health", "--backend", "default")
    with pytest.raises(SystemExit):
        call_command("taskq_health", "--backend", "fast")
    assert "0 workers alive" in capsys.readouterr().out


# --- only looking -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_dry_run_says_of_no_schedule_that_it_is_disabled(
    say: Say, caplog: pytest.LogCaptureFixture, django_assert_max_num_queries: Any
) -> None:
    Schedule.objects.bulk_create(
        Schedule(name=f"s{number}", declared_as=f"s{number}", task_path="x", kind="interval", spec="1 hour")
        for number in range(50)
    )

    with django_assert_max_num_queries(45):  # not one for each
        say("taskq_beat", "--dry-run")

    assert caplog.text.count(f"would be disabled: {declared.REMOVED}") == 50
    assert "is disabled" not in caplog.text
    assert set(Schedule.objects.values_list("enabled", "version")) == {(True, 1)}
