"""What of the project's stands round each run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from taskq_django import signals, task
from taskq_django.exceptions import ConfigurationError
from taskq_django.jobs import Claim
from taskq_django.states import State
from taskq_django.testing import run_all
from taskq_django.worker.run_context import run_context_at

pytestmark = pytest.mark.django_db

seen: list[str] = []


@contextmanager
def noted(claim: Claim) -> Iterator[None]:
    seen.append(f"enter {claim.job.task_path.rpartition('.')[2]}")
    try:
        yield
    except Exception as error:
        seen.append(f"saw {error!r}")
        raise
    finally:
        seen.append("exit")


@asynccontextmanager
async def awaited(claim: Claim) -> AsyncIterator[None]:
    seen.append("aenter")
    yield
    seen.append("aexit")


@contextmanager
def refusing(claim: Claim) -> Iterator[None]:
    raise PermissionError("no tenant of that name")
    yield


def hiding(claim: Claim) -> Any:
    return suppress(LookupError)


no_function = "a text"


@pytest.fixture(autouse=True)
def _unseen() -> None:
    seen.clear()


def around(settings: Settings, name: str) -> None:
    settings.TASKQ = {"WORKER": {"RUN_CONTEXT": f"{__name__}.{name}"}}


def plain(fails: bool = False) -> str:
    seen.append("runs")
    if fails:
        raise LookupError("gone")
    return "plain"


async def coroutine(fails: bool = False) -> str:
    return plain(fails)


@pytest.fixture
def both() -> tuple[Any, Any]:
    """Tasks that only these tests know."""
    return task(plain), task(coroutine)


@pytest.mark.parametrize("which", [0, 1])
def test_it_stands_between_the_signals_of_a_run(settings: Settings, both: tuple[Any, Any], which: int) -> None:
    around(settings, "noted")
    told = {"before": lambda claim, **kw: seen.append("before"), "after": lambda claim, **kw: seen.append("after")}
    signals.before_run.connect(told["before"])
    signals.after_run.connect(told["after"])
    try:
        result = both[which].enqueue()
        run_all()
    finally:
        signals.before_run.disconnect(told["before"])
        signals.after_run.disconnect(told["after"])
    name = both[which].func.__name__
    assert seen == ["before", f"enter {name}", "runs", "exit", "after"]
    assert result.get(timeout=0) == "plain"


@pytest.mark.parametrize("which", [0, 1])
def test_it_sees_what_the_task_raises(settings: Settings, both: tuple[Any, Any], which: int) -> None:
    around(settings, "noted")
    result = both[which].enqueue(fails=True)
    run_all()
    result.refresh()
    assert seen[1:] == ["runs", "saw LookupError('gone')", "exit"]
    assert result.state is State.FAILED


def test_a_coroutine_may_have_an_asynchronous_one(settings: Settings, both: tuple[Any, Any]) -> None:
    around(settings, "awaited")
    assert_ends(both[1].enqueue(), State.SUCCESSFUL)
    assert seen == ["aenter", "runs", "aexit"]


def test_one_that_is_asynchronous_only_fails_a_task_that_is_not(settings: Settings, both: tuple[Any, Any]) -> None:
    around(settings, "awaited")
    result = both[0].enqueue()
    assert_ends(result, State.FAILED)
    assert "context manager" in result.errors[0].traceback
    assert seen == []


@pytest.mark.parametrize("which", [0, 1])
def test_one_that_cannot_be_entered_fails_its_job_and_no_worker(
    settings: Settings, both: tuple[Any, Any], which: int
) -> None:
    around(settings, "refusing")
    results = [both[which].enqueue(), both[which].enqueue()]
    for result in results:
        assert_ends(result, State.FAILED)
        assert "no tenant of that name" in result.errors[0].traceback
    assert seen == []


@pytest.mark.parametrize("which", [0, 1])
def test_one_may_keep_an_exception_for_itself(settings: Settings, both: tuple[Any, Any], which: int) -> None:
    around(settings, "hiding")
    result = both[which].enqueue(fails=True)
    assert_ends(result, State.SUCCESSFUL)
    assert result.get(timeout=0) is None


def assert_ends(result: Any, state: State) -> None:
    run_all()
    result.refresh()
    assert result.state is state


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("nowhere.at_all", "No module named 'nowhere'"),
        (f"{__name__}.absent", "absent"),
        (f"{__name__}.no_function", "which is str and cannot be called"),
        ("word", "word"),
    ],
)
def test_a_path_that_leads_to_none_is_an_error_and_starts_no_worker(settings: Settings, path: str, text: str) -> None:
    settings.TASKQ = {"WORKER": {"RUN_CONTEXT": path}}
    [message] = [each for each in run_checks(tags=["taskq_django"]) if each.id == "taskq_django.E024"]
    assert text in message.msg
    assert "shop.tenants.of_the_job" in str(message.hint)
    with pytest.raises(ConfigurationError, match="RUN_CONTEXT"):
        run_context_at(path)
