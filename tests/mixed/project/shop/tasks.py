"""Written with what both releases have."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from taskq_django import Backoff, TaskContext, task


@task
def echo(value: Any) -> Any:
    return value


@task(takes_context=True)
def note(context: TaskContext, file: str) -> None:
    """Write down that this job runs."""
    append(file, context.task_result.id)


@task(max_attempts=2, backoff=Backoff(first=0.1, jitter=False), takes_context=True)
def second_time_lucky(context: TaskContext) -> int:
    if context.attempt == 1:
        raise ConnectionError("the first time")
    return context.attempt


@task
def needs(file: str) -> str:
    return Path(file).read_text()


@task(takes_context=True)
def hold(context: TaskContext, file: str) -> int:
    """Say that it has begun, and run until there is a file of that name, or for as long as a second attempt takes."""
    append(f"{file}.begun", context.task_result.id)
    while context.attempt == 1 and not Path(file).exists():
        time.sleep(0.02)  # between two looks; the file decides
    return context.attempt


def append(file: str, line: str) -> None:
    """By one write(), because others write too."""
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, f"{line}\n".encode())
    finally:
        os.close(handle)
