"""What a worker runs for long: of each kind of job one."""

from __future__ import annotations

import asyncio

from taskq_django import Backoff, TaskContext, task


@task
def nothing() -> None: ...


@task
async def anothing() -> None:
    await asyncio.sleep(0)


@task(takes_context=True)
def speak(context: TaskContext) -> None:
    context.logger.info("A line of the task's own")


@task
def carry(text: str) -> str:
    return text


@task
def fail() -> None:
    raise KeyError("missing")


@task(takes_context=True, max_attempts=2, backoff=Backoff(first=0, jitter=False))
def fail_once(context: TaskContext) -> None:
    if context.attempt == 1:
        raise ConnectionError
