"""ADMINS get one mail about the jobs that failed for good, however many these are."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from copy import copy
from datetime import timedelta
from typing import Any

import django
import pytest
from django.core import mail
from django.core.management import call_command
from django.utils.log import AdminEmailHandler

from taskq_django.beat import declared, mails
from taskq_django.beat.firing import enqueue_firings, firing_of
from taskq_django.checks.configuration import check_taskq
from taskq_django.compat import FRAMEWORK
from taskq_django.jobs import new_id
from taskq_django.models import JobAttempt, JobResult, Schedule
from taskq_django.models.moments import as_orm_has, database_now
from taskq_django.testing import run_all
from taskq_django.worker.logs import configure_logs
from tests.app import tasks

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # Django 6.1 asks for MAILERS, which it had not before; a project decides.
    pytest.mark.filterwarnings("ignore:.*(default mailer|EMAIL_)"),
]

EVERY = timedelta(minutes=15)
# Django 6.0 takes addresses; before it took names with addresses.
ADMINS = ["ops@example.com"] if django.VERSION >= (6, 0) else [("Ops", "ops@example.com")]
Report = Callable[..., list[Any]]


@pytest.fixture
def report(settings: Any) -> Report:
    """What is mailed when the slot comes that is so long from now."""
    settings.TASKQ = {"BEAT": {"MAIL_FAILURES": EVERY}}
    made = mails.declare(EVERY.total_seconds())
    assert made is not None
    declared.sync("default")
    row = Schedule.objects.get(name=mails.NAME)

    def at(after: timedelta) -> list[Any]:
        before = len(mail.outbox)
        now = database_now("default")
        enqueue_firings([firing_of(row, now + after, "default")], now, "default")
        settings.ADMINS = ADMINS
        run_all()
        settings.ADMINS = []  # else Django mails each failure here, where no worker keeps it from that
        assert JobResult.objects.filter(task_path=made.module_path).latest("id").status == "SUCCESSFUL"
        return mail.outbox[before:]

    return at


SOON = mails.LATE + timedelta(seconds=5)  # what has failed by now has surely been committed then


def again(job_id: str, count: int) -> None:
    """As if so many more jobs had ended like this one."""
    result, attempt = JobResult.objects.get(id=job_id), JobAttempt.objects.get(job_id=job_id)
    results, attempts = [copy(result) for _ in range(count)], [copy(attempt) for _ in range(count)]
    for one, its in zip(results, attempts, strict=True):
        one.id = its.job_id = new_id()
        its.id = None
    JobResult.objects.bulk_create(results, batch_size=500)
    JobAttempt.objects.bulk_create(attempts, batch_size=500)


def test_ten_thousand_failures_are_one_mail(report: Report) -> None:
    failed = tasks.explode.enqueue()
    tasks.echo.enqueue(1)
    tasks.odd_retry.enqueue()
    run_all()
    again(failed.id, 9_999)

    [sent] = report(SOON)

    assert sent.subject == "[Django] 10001 jobs failed for good"
    assert sent.recipients() == ["ops@example.com"]
    assert "10,000  tests.app.tasks.explode  KeyError\n" in sent.body
    assert "1  tests.app.tasks.odd_retry  TypeError\n" in sent.body
    assert "echo" not in sent.body
    assert "manage.py taskq_retry --failed --task tests.app.tasks.explode" in sent.body


def test_a_failure_is_told_once_and_none_is_no_mail(report: Report) -> None:
    assert report(timedelta(0)) == []
    tasks.explode.enqueue()
    run_all()
    assert report(timedelta(seconds=1)) == []  # too late for this one
    assert len(report(SOON)) == 1
    assert report(SOON + timedelta(seconds=1)) == []
    assert report(SOON + EVERY) == []


def test_what_failed_while_no_beat_was_there_is_told_by_the_next_slot(report: Report) -> None:
    report(timedelta(0))
    tasks.explode.enqueue()
    run_all()
    assert len(report(10 * EVERY)) == 1


def test_what_was_stored_long_after_its_end_is_told_by_the_next_mail_once(report: Report) -> None:
    """As what a worker has put aside while the store was away."""
    assert report(SOON) == []
    failed = tasks.explode.enqueue()
    run_all()
    ended = database_now("default") - 2 * EVERY
    JobAttempt.objects.filter(job_id=failed.id).update(finished_at=as_orm_has(ended))
    JobResult.objects.filter(id=failed.id).update(finished_at=as_orm_has(ended))

    [sent] = report(SOON + EVERY)

    assert sent.subject == "[Django] 1 job failed for good"
    assert f"From {ended:%Y-%m-%d %H:%M:%S} to " in sent.body
    assert report(SOON + 2 * EVERY) == []


def test_old_ends_that_are_stored_late_hide_no_fresh_ones(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mails, "AT_ONCE", 2)
    report(timedelta(0))
    tasks.explode.enqueue()
    late = [tasks.explode.enqueue() for _ in range(5)]
    run_all()
    ended = as_orm_has(database_now("default") - 2 * EVERY)
    JobAttempt.objects.filter(job_id__in=[each.id for each in late]).update(finished_at=ended)
    JobResult.objects.filter(id__in=[each.id for each in late]).update(finished_at=ended)

    [sent] = report(SOON)

    assert sent.subject == "[Django] 6 jobs failed for good"


def test_what_a_mail_that_was_not_sent_had_to_tell_is_told_by_the_next(report: Report) -> None:
    report(timedelta(0))
    tasks.explode.enqueue()
    run_all()
    assert len(report(SOON)) == 1
    newest = JobResult.objects.filter(task_path__endswith=".mail_failures").latest("id")
    JobResult.objects.filter(id=newest.id).update(status="FAILED", exception_class="", message="")

    [sent] = report(SOON + EVERY)

    assert "tests.app.tasks.explode  KeyError" in sent.body


@pytest.mark.parametrize("value", [None, '"1 failure"', "{}", "[1]"], ids=["gone", "older release", "none", "list"])
def test_without_the_word_of_the_last_mail_its_slot_counts(report: Report, value: str | None) -> None:
    tasks.explode.enqueue()
    run_all()
    assert len(report(SOON)) == 1
    sent = JobResult.objects.filter(task_path__endswith=".mail_failures")
    sent.delete() if value is None else sent.update(return_value=value)

    assert report(SOON + EVERY) == []


def test_what_is_to_be_tried_again_or_has_succeeded_since_is_not_told(report: Report) -> None:
    tasks.note_and_retry.enqueue()
    failed = tasks.explode.enqueue()
    run_all()
    JobResult.objects.filter(id=failed.id).update(status="SUCCESSFUL")
    assert JobAttempt.objects.count() == 2

    assert report(SOON) == []


def test_nothing_that_a_task_raises_forges_a_line_of_the_mail(report: Report) -> None:
    tasks.explode.enqueue()
    run_all()
    JobResult.objects.filter(status="FAILED").update(message="\x1b[2J\u202eyes\nBcc: all@example.com")

    [sent] = report(SOON)

    assert "\\x1b[2J\\u202eyes" in sent.body
    assert "Bcc" not in str(sent.message())


def test_the_task_is_declared_by_the_setting_alone(settings_declare: Callable[..., Any]) -> None:
    made = settings_declare({"default": {"BACKEND": "taskq_django.TaskqBackend", "QUEUES": ["b", "a"]}})
    assert (made.backend, made.queue_name, made.schedulable) == ("default", "a", False)
    assert made.schedule[0].spec == "15 minutes"
    assert settings_declare({"default": {"BACKEND": "nowhere.Backend"}}) is None


@pytest.fixture
def settings_declare(settings: Any) -> Callable[..., Any]:
    def declare(tasks: dict[str, Any]) -> Any:
        settings.TASKS = tasks
        return mails.declare(EVERY.total_seconds())

    return declare


def test_a_setting_that_tells_nobody_is_a_warning(settings: Any) -> None:
    settings.TASKQ = {"BEAT": {"MAIL_FAILURES": 900}}
    settings.ADMINS = []
    assert [message.id for message in check_taskq()] == ["taskq_django.W019"]
    settings.ADMINS = ADMINS
    assert check_taskq() == []


@pytest.fixture
def django_mails(settings: Any) -> Iterator[None]:
    """As Django's own LOGGING has it: errors below the logger ``django`` are mailed."""
    settings.ADMINS, settings.DEBUG = ADMINS, False
    loggers = [logging.getLogger(name) for name in ("django", FRAMEWORK, "taskq_django")]
    before = [(each, each.handlers[:], each.level, each.propagate) for each in loggers]
    handler = AdminEmailHandler()
    handler.setLevel(logging.ERROR)
    for each in loggers:
        each.handlers[:] = []
        each.propagate = each.name == FRAMEWORK
    for name in {"django", FRAMEWORK} - {"django.tasks"}:  # the backport's logger is not below Django's
        logging.getLogger(name).addHandler(handler)
    yield
    for each, handlers, level, propagate in before:
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)


@pytest.mark.parametrize(("every", "count"), [(None, 1), (900, 0)], ids=["each by Django", "one for many"])
def test_django_mails_each_failure_only_where_no_mail_is_for_many(
    django_mails: None, settings: Any, every: int | None, count: int
) -> None:
    settings.TASKQ = {"BEAT": {"MAIL_FAILURES": every}}
    configure_logs("text", 0)

    tasks.explode.enqueue()
    run_all()

    assert len(mail.outbox) == count


# --- nobody works -----------------------------------------------------------------------------------------------------


def test_that_no_worker_is_alive_is_mailed_by_who_looks_from_outside(
    settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.ADMINS = ADMINS
    with pytest.raises(SystemExit) as ended:
        call_command("taskq_health", "--mail-admins", "--json")

    assert ended.value.code == 1
    [sent] = mail.outbox
    [reason] = json.loads(capsys.readouterr().out)["reasons"]
    assert sent.body == reason
    assert reason in sent.subject
    call_command("taskq_health", "--mail-admins", "--min-workers", "0")
    assert len(mail.outbox) == 1


def test_a_mail_that_cannot_be_sent_hides_no_reason(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.ADMINS = ADMINS
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    with pytest.raises(SystemExit):
        call_command("taskq_health", "--mail-admins")

    said = capsys.readouterr()
    assert "0 workers alive" in said.out
    assert "The mail to ADMINS was not sent" in said.err
