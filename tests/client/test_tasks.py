"""@task, Task and the backend, as the one who enqueues meets them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import django
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone
from django.utils.module_loading import import_string

from taskq_django import Task, compat, task
from taskq_django.compat import FRAMEWORK, InvalidTask, TaskResultDoesNotExist
from taskq_django.exceptions import ArgumentError, BrokerError, ConfigurationError, PayloadTooLarge
from taskq_django.models import QueuedJob
from taskq_django.registry import registry
from taskq_django.task_options import TaskOptions
from taskq_django.tasks import wrapped
from taskq_django.testing import run_all
from tests.app import plain, tasks

TaskResultMismatch = import_string(f"{FRAMEWORK}.exceptions.TaskResultMismatch")
OURS = "taskq_django.TaskqBackend"
DUMMY = f"{FRAMEWORK}.backends.dummy.DummyBackend"
IMMEDIATE = f"{FRAMEWORK}.backends.immediate.ImmediateBackend"

db = pytest.mark.django_db


def test_a_task_is_a_task_of_the_framework_and_a_function() -> None:
    assert isinstance(tasks.add, compat.Task)
    assert tasks.add(1) == 3
    assert tasks.add.module_path == "tests.app.tasks.add"
    assert hash(tasks.add) == hash(tasks.add.using())


def test_the_package_is_imported_without_django_being_set_up() -> None:
    import subprocess
    import sys

    code = "import taskq_django, sys; taskq_django.__version__; assert not any('models' in m for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_default_for_tasks_is_there_without_settings() -> None:
    backend = compat.task_backends["default"]
    assert type(backend).__name__ == "TaskqBackend"
    assert backend.queues == set()
    flags = ("supports_defer", "supports_async_task", "supports_get_result", "supports_priority")
    assert all(getattr(backend, flag) for flag in flags)
    assert backend.check() == []
    assert compat.task_backends.settings["default"]["BACKEND"] == OURS


# --- bad input -------------------------------------------------------------------------------------------------------


@db
@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "missing a required argument: 'x'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"nope": 3}, "unexpected keyword argument 'nope'"),
        ((1,), {"x": 3}, "multiple values for argument 'x'"),
    ],
)
def test_wrong_arguments_are_refused_at_the_caller(args: Any, kwargs: Any, words: str) -> None:
    for call in (tasks.add.enqueue, tasks.add.delay):
        with pytest.raises(TypeError, match=r"tests\.app\.tasks\.add\(x: .*cannot be enqueued like this") as caught:
            call(*args, **kwargs)
        assert words in str(caught.value)
    assert not QueuedJob.objects.exists()


@db
def test_a_context_is_no_argument_of_the_caller() -> None:
    tasks.about_me.enqueue()
    with pytest.raises(TypeError, match="too many"):
        tasks.about_me.enqueue(1)


@db
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (User(pk=1), r"argument 'value' of type User \(a model instance\) cannot be sent: pass value\.pk"),
        (float("nan"), "'value' is nan"),
        ("\ud800", "lone surrogate"),
        ("x" * 50_000_000, r"47\.7 MiB, the limit is 1\.0 MiB"),
    ],
    ids=["model", "nan", "surrogate", "50 MB"],
)
def test_what_cannot_travel_is_refused_at_the_caller(value: Any, words: str) -> None:
    for call in (lambda: tasks.echo.enqueue(value), lambda: tasks.echo.enqueue_many([(1,), (value,)])):
        with pytest.raises(ArgumentError, match=words):
            call()
    assert not QueuedJob.objects.exists()


@db
def test_the_limit_of_arguments_can_be_set() -> None:
    options = {"default": {"BACKEND": OURS, "OPTIONS": {"max_payload": 2000}}}
    with override_settings(TASKS=options), pytest.raises(PayloadTooLarge):
        tasks.echo.enqueue("x" * 2000)
    tasks.echo.enqueue("x" * 2000)


def nested() -> Any:
    def inner() -> None: ...

    return inner


@pytest.mark.parametrize(
    "function",
    [lambda: None, nested(), len, "text", object().__str__],
    ids=["lambda", "nested", "builtin", "text", "method"],
)
def test_only_functions_of_a_module_are_tasks(function: Any) -> None:
    with pytest.raises(InvalidTask, match="module level"):
        task(function)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"priority": 101}, "priority must be a whole number between -100 and 100"),
        ({"priority": -101}, "between -100 and 100"),
        ({"priority": "high"}, "not 'high'"),
        ({"priority": 1.5}, "not 1.5"),
        ({"priority": True}, "not True"),
        ({"queue_name": ""}, "is no queue name"),
        ({"queue_name": "x" * 300}, "is no queue name"),
        ({"queue_name": "a b"}, "is no queue name"),
        ({"max_attempts": 0}, "max_attempts must be a whole number from 1 to 1000"),
        ({"max_attempts": "3"}, "max_attempts"),
        ({"backoff": 3}, "backoff must be"),
        ({"retry_on": [ValueError, 3]}, "retry_on must hold exception classes"),
        ({"takes_context": True}, "context"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidTask, match=words):
        task(**options)(tasks.add.func)


@pytest.mark.parametrize(("option", "near"), [("max_atempts", "max_attempts"), ("func", None), ("native", None)])
def test_an_unknown_option_is_a_type_error_with_the_nearest_name(option: str, near: str | None) -> None:
    with pytest.raises(TypeError, match=f"no option '{option}'.*{near or ''}"):
        task(**{option: 1})
    with pytest.raises(TypeError, match="using"):
        task(run_after=datetime.now(UTC))


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(Exception, match="'fast' doesn't exist") as caught:
        task(backend="fast")(tasks.add.func)
    assert caught.value.__notes__ == ["The task tests.app.tasks.add waits in TASKS['fast'], which is not there."]


@db
@pytest.mark.parametrize(
    ("run_after", "words"),
    [
        (datetime(2030, 1, 1), "aware"),  # noqa: DTZ001
        (timedelta.max, "hundred years"),
    ],
)
def test_a_wrong_moment_is_refused(run_after: Any, words: str) -> None:
    with pytest.raises(InvalidTask, match=words):
        tasks.add.using(run_after=run_after)


@db
@pytest.mark.parametrize("run_after", [datetime(9999, 12, 31, tzinfo=UTC), timedelta(days=36_500), timedelta(days=-1)])
def test_far_and_past_moments_are_taken(run_after: Any) -> None:
    assert tasks.add.using(run_after=run_after).enqueue(1).id


@db
def test_metadata_must_be_json() -> None:
    for wrong in (object(), date(2026, 1, 1), float("nan")):
        with pytest.raises(InvalidTask, match="metadata must be plain JSON"):
            tasks.add.using(metadata={"a": wrong})


@pytest.mark.django_db
def test_metadata_is_what_will_be_read_back() -> None:
    sent = tasks.add.using(metadata={"a": (1, 2)}).enqueue(1)
    assert sent.task.metadata == {"a": [1, 2]}
    assert sent == tasks.add.get_result(sent.id)


@pytest.mark.django_db
def test_a_priority_that_the_framework_lets_pass_is_sent() -> None:
    plain.double.using(priority=3.0, run_after=timezone.now() + timedelta(hours=1)).enqueue(1)
    assert QueuedJob.objects.get().rank == -3


def test_queues_that_are_not_listed_are_refused() -> None:
    with override_settings(TASKS={"default": {"BACKEND": OURS, "QUEUES": ["mail"]}}):
        assert tasks.add.using(queue_name="mail")
        with pytest.raises(InvalidTask, match="Queue 'other' is not valid for backend"):
            tasks.add.using(queue_name="other")


@pytest.mark.parametrize("broker", ["amqp://localhost", "sqs://"])
def test_a_broker_that_cannot_be_had_is_an_error_where_it_is_used(broker: str) -> None:
    wrong = {"default": {"BACKEND": OURS, "OPTIONS": {"broker": broker}}}
    with override_settings(TASKS=wrong), pytest.raises(ConfigurationError, match="broker"):
        tasks.add.enqueue(1)


@pytest.mark.django_db(transaction=True)
def test_without_its_tables_the_error_says_migrate() -> None:
    call_command("migrate", "taskq_django", "zero", verbosity=0)
    try:
        for call in (lambda: tasks.add.enqueue(1), lambda: tasks.add.enqueue_many([(1,), (2,)])):
            with pytest.raises(BrokerError, match=r"run `manage\.py migrate taskq_django"):
                call()
    finally:
        call_command("migrate", "taskq_django", verbosity=0)


# --- results ---------------------------------------------------------------------------------------------------------


@db
@pytest.mark.parametrize("id_", ["123", "", "x" * 64, "00000000-0000-7000-8000-000000000000"])
def test_an_unknown_id_does_not_exist(id_: str) -> None:
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result(id_)


@db
def test_a_result_of_another_task_is_a_mismatch() -> None:
    with pytest.raises(TaskResultMismatch):
        tasks.echo.get_result(tasks.add.enqueue(1).id)


@db
def test_a_result_survives_its_queue_and_its_arguments_types() -> None:
    sent = tasks.echo.enqueue((1, {2}))
    with override_settings(TASKS={"default": {"BACKEND": OURS, "QUEUES": ["other"]}}):
        found = compat.task_backends["default"].get_result(sent.id)
    assert found.args == [(1, {2})] == sent.args


@db
def test_a_handle_is_one_line() -> None:
    text = repr(tasks.add.enqueue(1))
    assert "\n" not in text
    assert len(text) < 120
    assert "READY" in text


@db
def test_reading_a_result_takes_one_query(django_assert_num_queries: Any) -> None:
    ids = [tasks.add.enqueue(n).id for n in range(5)]
    with django_assert_num_queries(1):
        found = compat.task_backends["default"].get_results([*ids, "unknown"])  # type: ignore[attr-defined]
    assert [result.id for result in found] == ids


def test_the_typed_options_are_the_fields_of_a_task() -> None:
    elsewhere = {"func", "run_after", "takes_context", "native"}
    assert set(TaskOptions.__annotations__) == Task.__dataclass_fields__.keys() - elsewhere


@pytest.mark.skipif(django.VERSION < (6, 1), reason="tasks can be pickled from Django 6.1 on")
def test_tasks_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(tasks.add)) == tasks.add


# --- other packages and other backends ------------------------------------------------------------------------------


@db
def test_a_function_of_a_package_that_knows_only_the_framework_runs() -> None:
    assert isinstance(plain.double, Task)
    assert not plain.double.native
    good, bad, context = plain.double.enqueue(4), plain.fails.enqueue(), plain.tells.enqueue()
    assert plain.double.get_result(good.id) == good
    run_all()
    for result in (good, bad, context):
        result.refresh()
    assert good.return_value == 8
    assert (str(bad.status), bad.attempts, len(bad.errors)) == ("FAILED", 1, 1)
    assert context.return_value == 1


@db
def test_a_plain_task_keeps_the_frameworks_rules() -> None:
    with pytest.raises(TypeError, match=r"Unsupported type: <class 'datetime\.datetime'>"):
        plain.double.enqueue(datetime.now(UTC))
    wrong = plain.double.enqueue(1, 2, 3)  # not bound at the caller: it fails in the worker
    run_all()
    wrong.refresh()
    assert "TypeError" in wrong.errors[0].traceback


@db
def test_a_task_of_the_frameworks_own_class_may_be_bound_to_us() -> None:
    with override_settings(TASKS={"default": {"BACKEND": OURS}, "stock": {"BACKEND": DUMMY}}):
        stock = compat.Task(
            func=plain.triple,
            backend="stock",
            priority=0,
            queue_name="default",
            run_after=None,
            takes_context=False,
        )
        moved = stock.using(backend="default", priority=5)
        assert type(moved) is compat.Task
        result = moved.enqueue(21)
        assert moved.get_result(result.id) == result
        assert result.task is moved.get_result(result.id).task is moved
        known = registry.find(moved.module_path)
        assert (known.native, known.priority, known.attempts_allowed) == (False, 5, 1)
        assert type(known.using(priority=7).given) is compat.Task
        run_all()
        result.refresh()
        assert result.return_value == 63


@pytest.mark.parametrize(
    "copied", [copy, deepcopy, lambda known: pickle.loads(pickle.dumps(known))], ids=["copy", "deepcopy", "pickle"]
)
def test_a_copy_of_what_stands_for_a_task_of_the_framework_stands_for_it_too(copied: Callable[[Any], Any]) -> None:
    # The framework copies a task by its path, or else field by field.
    function = plain.double.func if "__reduce__" in vars(compat.Task) else plain.triple
    known = wrapped(compat.Task(func=function, priority=5, queue_name="default", backend="default", run_after=None))

    made = copied(known)

    assert made == known
    assert made.given == known.given
    assert type(made.given) is compat.Task


def test_what_stands_for_a_task_of_the_framework_may_be_replaced() -> None:
    known = wrapped(compat.Task(func=plain.triple, priority=5, queue_name="default", backend="default", run_after=None))

    made = replace(known, priority=7)

    assert (made.priority, made.given.priority, known.given.priority) == (7, 7, 5)
    assert type(made.given) is compat.Task


@db
def test_our_tasks_run_on_the_stock_backends_of_tests() -> None:
    with override_settings(TASKS={"default": {"BACKEND": IMMEDIATE}}):
        assert tasks.add.enqueue(1).return_value == 3
        assert [result.return_value for result in tasks.add.enqueue_many([(1,), {"x": 5}])] == [3, 7]
        task(max_attempts=5)(tasks.add.func)
    with override_settings(TASKS={"default": {"BACKEND": DUMMY}}):
        tasks.add.using(run_after=timedelta(hours=1)).enqueue(1)
        assert compat.task_backends["default"].results[0].task.run_after > datetime.now(UTC)  # type: ignore[attr-defined]


def test_two_tasks_of_one_path_are_noted() -> None:
    other = compile("\n\n\ndef add(x): ...", "elsewhere.py", "exec")
    names: dict[str, Any] = {"__name__": "tests.app.tasks"}
    exec(other, names)
    task(names["add"])
    ((path, first, second),) = registry.duplicates
    assert path == "tests.app.tasks.add"
    assert "tasks.py" in first
    assert second == "elsewhere.py:4"


@pytest.mark.parametrize("time", ["once", "and once more"])
def test_what_a_test_declares_no_other_knows(time: str) -> None:
    def brief() -> None: ...

    brief.__qualname__ = "brief"
    assert registry.get(f"{__name__}.brief") is None
    assert registry.get(task(brief).module_path)


def test_a_task_is_found_under_an_alias() -> None:
    renamed = task(aliases=["old.place.add"])(tasks.add.func)
    assert registry.find("old.place.add").func is renamed.func
