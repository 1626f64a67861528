"""What django.tasks promises of a backend, for tasks of its own decorator: the intent of upstream's own suites."""

from __future__ import annotations

import logging
import pickle
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.dispatch import Signal
from django.test import Client, override_settings
from django.urls import reverse
from django.utils.module_loading import import_string

from taskq_django import compat
from taskq_django.compat import FRAMEWORK, TaskResultDoesNotExist, task_backends
from taskq_django.models import JobAttempt, JobResult, QueuedJob
from taskq_django.testing import run_all
from tests.app import plain, tasks

pytestmark = pytest.mark.django_db

TaskResultMismatch = import_string(f"{FRAMEWORK}.exceptions.TaskResultMismatch")
OURS = "taskq_django.TaskqBackend"
SIGNALS = ("task_enqueued", "task_started", "task_finished")
FIELDS = [
    "id", "task", "status", "enqueued_at", "started_at", "finished_at", "last_attempted_at", "args", "kwargs",
    "backend", "errors", "worker_ids", "attempts", "is_finished",
]  # fmt: skip


def backend(alias: str = "default") -> Any:
    return task_backends[alias]


# --- what is found equals what was given ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bound",
    [
        plain.double,
        plain.later,
        plain.double.using(priority=-100),
        plain.double.using(priority=100, queue_name="mail"),
        plain.double.using(run_after=datetime.now(UTC) + timedelta(hours=1)),
    ],
    ids=["plain", "coroutine", "lowest", "highest", "later"],
)
def test_enqueue_gives_what_get_result_finds_field_for_field(bound: Any) -> None:
    sent = bound.enqueue(1)
    found = backend().get_result(sent.id)
    assert {name: getattr(sent, name) for name in FIELDS} == {name: getattr(found, name) for name in FIELDS}
    assert sent == found == bound.get_result(sent.id) == async_to_sync(bound.aget_result)(sent.id)
    assert (sent.task, sent.args, sent.kwargs) == (bound, [1], {})
    assert sent.enqueued_at is not None
    assert (sent.attempts, sent.errors, sent.worker_ids, sent.is_finished) == (0, [], [], False)


@pytest.mark.parametrize("name", ["double", "later"])
def test_enqueue_and_its_async_twin_do_the_same(name: str) -> None:
    bound = getattr(plain, name)
    results = [bound.enqueue(1), async_to_sync(bound.aenqueue)(1)]
    run_all()
    results[0].refresh()
    async_to_sync(results[1].arefresh)()
    assert results[0].return_value == results[1].return_value


def test_a_text_stays_a_text_whatever_its_annotation_names() -> None:
    sent = plain.kind_of.enqueue("dark")
    plain.kind_of.enqueue("no shade")
    run_all()
    sent.refresh()
    assert sent.return_value == "str"
    assert JobResult.objects.filter(status="SUCCESSFUL").count() == 2


def test_arguments_come_back_as_json_has_them() -> None:
    sent = plain.double.enqueue((1, 2), n={"a": (3,)})
    assert (sent.args, sent.kwargs) == ([[1, 2]], {"n": {"a": [3]}})
    assert backend().get_result(sent.id) == sent


def test_a_result_is_unfinished_then_finished() -> None:
    good, bad = plain.double.enqueue(2), plain.fails.enqueue()
    with pytest.raises(ValueError, match="Task has not finished yet"):
        good.return_value  # noqa: B018 - the property raises
    run_all()
    good.refresh()
    bad.refresh()
    assert (good.return_value, good.is_finished, good.attempts) == (4, True, 1)
    assert good.enqueued_at <= good.started_at <= good.finished_at
    assert good.last_attempted_at == good.started_at
    assert good.worker_ids == bad.worker_ids != []
    with pytest.raises(ValueError, match="Task failed"):
        bad.return_value  # noqa: B018 - as above


def test_results_of_other_tasks_and_unknown_ids_are_errors() -> None:
    sent = plain.double.enqueue(1)
    with pytest.raises(TaskResultMismatch):
        plain.fails.get_result(sent.id)
    with pytest.raises(TaskResultMismatch):
        async_to_sync(plain.fails.aget_result)(sent.id)
    for unknown in ("no id", "123", "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(TaskResultDoesNotExist):
            backend().get_result(unknown)
        with pytest.raises(TaskResultDoesNotExist):
            async_to_sync(backend().aget_result)(unknown)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"priority": 101}, "priority must be a whole number between -100 and 100."),
        ({"priority": -101}, "priority must be a whole number between -100 and 100."),
        ({"priority": 1.5}, "priority must be a whole number between -100 and 100."),
        ({"queue_name": "unknown"}, "Queue 'unknown' is not valid for backend."),
        ({"run_after": datetime(2030, 1, 1)}, "run_after must be an aware datetime."),  # noqa: DTZ001
    ],
)
def test_what_is_refused_is_refused_in_the_frameworks_words(asked: dict[str, Any], message: str) -> None:
    with (
        override_settings(TASKS={"default": {"BACKEND": OURS, "QUEUES": ["default"]}}),
        pytest.raises(compat.InvalidTask, match=message),
    ):
        plain.double.using(**asked)


def test_an_unknown_backend_is_the_frameworks_error() -> None:
    with pytest.raises(compat.InvalidTaskBackend, match="The connection 'gone' doesn't exist"):
        plain.double.using(backend="gone")
    assert issubclass(compat.InvalidTaskBackend, ImproperlyConfigured)


def test_the_backend_says_what_it_can_do() -> None:
    can = {"supports_defer", "supports_async_task", "supports_get_result", "supports_priority"}
    assert all(getattr(backend(), name) for name in can)
    assert backend().options == {}
    assert list(backend().check()) == []
    assert run_checks(tags=["taskq_django"]) == []


def test_settings_may_be_overridden_twice_in_one_test() -> None:
    for queue, other in [("mail", "video"), ("video", "mail")]:
        with override_settings(TASKS={"default": {"BACKEND": OURS, "QUEUES": [queue]}}):
            assert plain.double.using(queue_name=queue).enqueue(1).task.queue_name == queue
            with pytest.raises(compat.InvalidTask):
                plain.double.using(queue_name=other)
    with override_settings(TASKS={"other": {"BACKEND": OURS}, "default": {"BACKEND": OURS}}):
        moved = plain.double.using(backend="other")
        result = moved.enqueue(5)
        assert (result.backend, moved.get_result(result.id)) == ("other", result)
        run_all()
        result.refresh()
        assert result.return_value == 10


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "kind", "ending"),
    [
        (plain.fails, RuntimeError, "RuntimeError: plain\n"),
        (plain.complicated, ValueError, "ValueError: This task failed\n"),
        (plain.leaves, SystemExit, "SystemExit: left\n"),
    ],
)
def test_an_error_has_its_class_and_its_traceback(bound: Any, kind: type[BaseException], ending: str) -> None:
    result = bound.enqueue()
    run_all()
    result.refresh()
    [error] = result.errors
    assert (str(result.status), error.exception_class) == ("FAILED", kind)
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert error.traceback.endswith(ending)


def test_a_value_that_is_no_json_fails_as_in_the_framework() -> None:
    result = plain.lambdas.enqueue()
    run_all()
    result.refresh()
    assert result.errors[0].exception_class is TypeError
    assert "Unsupported type: <class 'function'>" in result.errors[0].traceback


# --- logs and receivers ----------------------------------------------------------------------------------------------


class Lines(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> Iterator[list[tuple[str, str]]]:
    handler, logger = Lines(request.param), logging.getLogger(FRAMEWORK)
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(request.param)
    yield handler.lines
    logger.setLevel(before)
    logger.removeHandler(handler)


@pytest.mark.parametrize("lines", [logging.DEBUG], indirect=True)
@pytest.mark.parametrize(("name", "end", "level"), [("double", "SUCCESSFUL", "INFO"), ("fails", "FAILED", "ERROR")])
def test_the_framework_logs_three_lines_a_job(name: str, end: str, level: str, lines: list[tuple[str, str]]) -> None:
    result = getattr(plain, name).enqueue(*([1] if name == "double" else []))
    assert [("enqueued" in line) for _, line in lines] == [True]
    assert result.id in lines[0][1]
    run_all()
    assert len(lines) == 3
    assert [result.id in line for _, line in lines] == [True] * 3
    assert f"state={end}" in lines[2][1]
    assert "state=RUNNING" in lines[1][1]
    assert [lines[0][0], lines[1][0], lines[2][0]] == ["DEBUG", "INFO", level]


@pytest.mark.parametrize("lines", [logging.ERROR], indirect=True)
def test_a_handler_for_errors_hears_of_failures_only(lines: list[tuple[str, str]]) -> None:
    # Django's own default: a handler that mails ERRORs to the ADMINS.
    plain.double.enqueue(1)
    failed = plain.fails.enqueue()
    run_all()
    [(level, line)] = lines
    assert level == "ERROR"
    assert failed.id in line


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_raising_receiver_changes_nothing(signal: str, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def broken(**kwargs: Any) -> None:
        raise RuntimeError("broken receiver")

    def sound(task_result: Any, **kwargs: Any) -> None:
        heard.append(task_result.id)

    sent: Any = getattr(compat, signal)
    sent.connect(broken, weak=False)
    sent.connect(sound, weak=False)
    try:
        good, bad = plain.double.enqueue(4), plain.fails.enqueue()
        run_all()
    finally:
        sent.disconnect(broken)
        sent.disconnect(sound)
    good.refresh()
    bad.refresh()
    assert (good.return_value, str(bad.status), heard) == (8, "FAILED", [good.id, bad.id])
    assert "broken receiver" in caplog.text


# --- a package that has imported the backport -------------------------------------------------------------------------


@pytest.fixture
def backport(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there; beside Django's own, where Django has one, as some packages have it for many versions of Django."""
    if FRAMEWORK == "django.tasks":
        signals, exceptions = ModuleType("django_tasks.signals"), ModuleType("django_tasks.exceptions")
        for name in SIGNALS:
            setattr(signals, name, signal := Signal())
            signal.connect(lambda **kwargs: None, weak=False)  # its own, which writes a line of log
        exceptions.TaskResultDoesNotExist = type("TaskResultDoesNotExist", (Exception,), {})  # type: ignore[attr-defined]
        for module in (signals, exceptions):
            monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("backport")
@pytest.mark.parametrize("framework", ["django_tasks", FRAMEWORK])
def test_signals_reach_who_listens_to_either_framework(framework: str) -> None:
    heard: list[tuple[str, str]] = []
    listeners = {}
    for name in SIGNALS:
        signal = getattr(sys.modules[f"{framework}.signals"], name)
        listeners[signal] = lambda task_result, name=name, **kwargs: heard.append((name, task_result.id))
        signal.connect(listeners[signal])
    try:
        sent = plain.double.enqueue(4)
        run_all()
    finally:
        for signal, listener in listeners.items():
            signal.disconnect(listener)

    assert heard == [(name, sent.id) for name in SIGNALS]


@pytest.mark.usefixtures("backport")
@pytest.mark.parametrize("framework", ["django_tasks", FRAMEWORK])
def test_a_result_that_is_not_there_is_the_error_of_either_framework(framework: str) -> None:
    with pytest.raises(sys.modules[f"{framework}.exceptions"].TaskResultDoesNotExist):
        backend().get_result("00000000-0000-0000-0000-000000000000")


# --- what has gone since ---------------------------------------------------------------------------------------------


GONE = {
    "function": {"task_path": "tests.app.plain.gone"},
    "module": {"task_path": "tests.gone.double"},
    "package": {"task_path": "gone_package.tasks.double"},
    "not a task": {"task_path": "tests.app.plain.triple"},
    "queue": {"queue_name": "gone"},
    "alias": {"backend": "gone"},
}


@pytest.mark.parametrize("ended", [False, True], ids=["waiting", "ended"])
@pytest.mark.parametrize("changes", GONE.values(), ids=GONE)
def test_what_has_gone_breaks_neither_get_result_nor_the_admin(
    changes: dict[str, str], ended: bool, admin_client: Client
) -> None:
    sent = plain.double.enqueue(4)
    if ended:
        run_all()
    table: Any = JobResult if ended else QueuedJob
    table.objects.filter(id=sent.id).update(**changes)
    with override_settings(TASKS={"default": {"BACKEND": OURS, "QUEUES": ["default"]}}):
        found = backend().get_result(sent.id)
        assert (found.id, found.is_finished) == (sent.id, ended)
        assert found.task.module_path == changes.get("task_path", "tests.app.plain.double")
        assert found.task.queue_name == changes.get("queue_name", "default")
        assert repr(found)
        if ended:
            assert found.return_value == 8
        for page in (f"admin:taskq_django_{table._meta.model_name}_changelist", "admin:taskq_django_job"):
            answer = admin_client.get(reverse(page, args=[sent.id] if page.endswith("_job") else []))
            assert answer.status_code == 200
            assert sent.id in answer.content.decode()


def test_a_job_whose_function_has_gone_fails_and_says_so() -> None:
    sent = plain.double.enqueue(4)
    QueuedJob.objects.filter(id=sent.id).update(task_path="tests.app.plain.gone")
    run_all()
    found = backend().get_result(sent.id)
    assert str(found.status) == "FAILED"
    assert "tests.app.plain.gone" in found.errors[0].traceback


def test_an_exception_class_that_has_gone_is_a_value_error() -> None:
    sent = plain.fails.enqueue()
    run_all()
    JobResult.objects.filter(id=sent.id).update(exception_class="gone.Error")
    JobAttempt.objects.filter(job_id=sent.id).update(exception_class="gone.Error")
    [error] = backend().get_result(sent.id).errors
    assert error.exception_class_path == "gone.Error"
    with pytest.raises((ValueError, ImportError)):
        error.exception_class  # noqa: B018 - the property raises


# --- order and context -----------------------------------------------------------------------------------------------


def test_higher_priorities_run_first_and_jobs_run_when_they_are_due() -> None:
    waiting = plain.double.using(run_after=datetime.now(UTC) + timedelta(days=1)).enqueue(0)
    sent = {p: tasks.add.using(priority=p).enqueue(p) for p in (0, -100, 100, 7)}
    run_all()
    ended = sorted((JobResult.objects.get(id=result.id).started_at, p) for p, result in sent.items())
    assert [p for _, p in ended] == [100, 7, 0, -100]
    waiting.refresh()
    assert str(waiting.status) == "READY"


def test_a_context_tells_of_its_own_job() -> None:
    seen: list[Any] = []

    def note(task_result: Any, **kwargs: Any) -> None:
        seen.append(task_result)

    compat.task_started.connect(note)
    try:
        result = plain.tells.enqueue()
        run_all()
    finally:
        compat.task_started.disconnect(note)
    result.refresh()
    assert result.return_value == 1
    [started] = seen
    assert (started.id, started.worker_ids, started.attempts) == (result.id, result.worker_ids, 1)


@pytest.mark.skipif(django.VERSION < (6, 1), reason="tasks can be pickled from Django 6.1 on")
def test_results_and_bound_tasks_can_be_pickled() -> None:
    bound = plain.double.using(priority=5)
    sent = bound.enqueue(1)
    assert pickle.loads(pickle.dumps(bound)) == bound
    assert pickle.loads(pickle.dumps(sent)) == sent


def test_a_traceback_is_plain_text_that_python_wrote() -> None:
    try:
        plain.fails.func()
    except RuntimeError as error:
        ours = "".join(traceback.format_exception(error)).splitlines()[-1]
    result = plain.fails.enqueue()
    run_all()
    result.refresh()
    assert result.errors[0].traceback.splitlines()[-1] == ours
