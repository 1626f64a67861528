"""Tasks that the tests run."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime
from typing import Any

from taskq_django import Backoff, Discard, Retry, TaskContext, task


@task
def add(x: int, y: int = 2) -> int:
    return x + y


@task
async def aadd(x: int, y: int = 2) -> int:
    await asyncio.sleep(0)
    return x + y


@task
def explode() -> None:
    raise KeyError("missing")


@task(max_attempts=3, backoff=Backoff(first=0, jitter=False))
def flaky(until: int) -> str:
    global flaky_calls
    flaky_calls += 1
    if flaky_calls < until:
        raise ConnectionError(f"call {flaky_calls}")
    return f"call {flaky_calls}"


flaky_calls = 0


@task(takes_context=True)
def about_me(context: TaskContext) -> dict[str, Any]:
    return {"id": context.task_result.id, "attempt": context.attempt, "metadata": dict(context.metadata)}


@task
def echo(value: Any) -> Any:
    return value


@task
def leave(how: str) -> None:
    raise {"system exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "stop": GeneratorExit()}[how]


@task
def unserialisable() -> Any:
    return object()


@task
def too_large() -> str:
    return "x" * (2 * 1024 * 1024)


@task
def odd_retry() -> None:
    raise Retry(delay="soon")  # type: ignore[arg-type]


oddity: Any = None  # set by tests


@task(max_attempts=3, backoff=lambda exception, result: oddity)
def odd_backoff() -> None:
    raise ConnectionError


@task
def no_thanks() -> None:
    raise Discard("not today")


@task
def again() -> None:
    raise Retry(delay=3600)


@task(store_result=False)
def forgettable() -> int:
    return 1


@task
def note(path: str, text: str) -> None:
    """Append a line to a file: what a test outside this process can see."""
    with open(path, "a") as file:  # noqa: PTH123 - one write, appended as one
        file.write(f"{text}\n")


@task
def slow_note(path: str, text: str, seconds: float) -> str:
    note.func(path, f"{text} begins {os.getpid()}")
    time.sleep(seconds)
    note.func(path, f"{text} ends")
    return text


@task
async def anap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@task
def tomorrow(moment: datetime) -> datetime:
    return moment


@task
def is_paused(queue_name: str) -> bool:
    from taskq_django.models import PausedQueue

    return PausedQueue.objects.filter(queue_name=queue_name).exists()


@task(sensitive=("pin",))
def log_in(user: str, password: str, *, options: dict[str, Any], pin: str) -> None: ...


@task
async def aexplode() -> None:
    raise KeyError("missing")


@task(takes_context=True, max_attempts=2, backoff=Backoff(first=0, jitter=False))
async def asecond(context: TaskContext) -> list[str]:
    if context.attempt == 1:
        raise ConnectionError
    return [error.exception_class.__name__ for error in context.task_result.errors]


@task(keep_result=3600)
def kept_for_an_hour() -> None: ...


@task(keep_result=365 * 86_400)
def kept_for_a_year() -> None: ...
