"""The tasks of ``taskq_demo``. No ``tasks`` module, so a project knows them only once it has their jobs."""

from __future__ import annotations

import time

from ..backoff import Backoff
from ..results import TaskContext
from ..tasks import task

QUEUE = "demo"  # of its own: the demo must run no job of the project


@task(queue_name=QUEUE)
def greet(name: str) -> str:
    """A fast one."""
    return f"Hello, {name}!"


@task(queue_name=QUEUE)
def build_report(seconds: float = 2.0) -> str:
    """A slow one."""
    time.sleep(seconds)
    return f"It took {seconds:g} seconds."


@task(queue_name=QUEUE, takes_context=True)
def copy_rows(context: TaskContext, rows: int = 30) -> int:
    """Says how far it is."""
    for row in range(1, rows + 1):
        time.sleep(0.05)
        context.progress(row, rows, "Copying rows")
    return rows


@task(queue_name=QUEUE, takes_context=True, max_attempts=3, backoff=Backoff(first=1.0, jitter=False))
def call_service(context: TaskContext) -> str:
    """Fails at first, and is tried again."""
    if context.attempt == 1:
        raise ConnectionError("The service did not answer: at the first attempt the demo has it so.")
    return f"It answered at attempt {context.attempt}."


@task(queue_name=QUEUE)
def read_page(number: int) -> str:
    """Fails for good."""
    pages = {1: "title", 2: "contents"}
    return pages[number]


@task(queue_name=QUEUE)
def tidy_up() -> str:
    """What the demo's schedule enqueues."""
    return "Everything is tidy."
