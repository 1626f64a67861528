"""A project as people write it. ``tox -e types`` has it read by mypy and pyright; nobody runs it.

Each line with an ignore is wrong code: a checker that accepted it would call the ignore unused, which fails too.
"""

from __future__ import annotations

from datetime import timedelta

from taskq_django import Backoff, Retry, TaskContext, cron, every, task


@task
def add(x: int, y: int = 2) -> int:
    return x + y


@task(queue_name="mail", priority=10, max_attempts=5, timeout=timedelta(minutes=1), retry_on=[ConnectionError])
def send(order: int, *, to: str) -> str:
    return f"{order} {to}"


@task
async def fetch(url: str) -> bytes:
    return url.encode()


@task(queue_name="net", backoff=Backoff(first=2))
async def fetch_later(url: str) -> bytes:
    return url.encode()


@task(takes_context=True)
def resize(context: TaskContext, path: str) -> float:
    context.progress(1, 2, "half-way")
    if context.attempt > 1:
        raise Retry(delay=10)
    return 0.5


@task(takes_context=True)
async def crawl(context: TaskContext, depth: int) -> list[str]:
    return [str(depth)]


@task(schedule=cron("0 3 * * *", timezone="Europe/Berlin", misfire="skip", kwargs={"days": 30}))
def clean(days: int) -> None: ...


@task(schedule=[every(minutes=5, jitter=10), every(timedelta(hours=1), name="hourly")])
def look() -> None: ...


@task(retry_on=ValueError)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
def of_one_error() -> None: ...


@task(queue="mail")  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
def of_a_queue() -> None: ...


@task(takes_context=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
def without_context(path: str) -> None: ...


cron("0 3 * * *", tz="Europe/Berlin")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
cron("0 3 * * *", misfire="never")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
every(minute=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
every()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
every(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
