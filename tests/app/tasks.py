"""Tasks that the tests run."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import resource
import signal
import time
from contextlib import nullcontext, suppress
from datetime import datetime
from typing import Any

from taskq_django import Backoff, Discard, Retry, TaskContext, task
from tests.support import ledger
from tests.support.gates import Gate


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
def gated_note(path: str, text: str, gate: str) -> str:
    """As ``slow_note``, and takes as long as the test wants: until the gate is open."""
    note.func(path, f"{text} begins {os.getpid()}")
    Gate(gate).wait()
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


@task(takes_context=True)
def ledgered(context: TaskContext, path: str, seconds: float) -> str:
    """Says in a file outside of everything when it starts and ends."""
    job_id = context.task_result.id
    ledger.write(path, job_id, context.attempt, "start")
    time.sleep(seconds)
    ledger.write(path, job_id, context.attempt, "end")
    return job_id


@task(takes_context=True)
def ledgered_at(context: TaskContext, path: str, gate: str) -> str:
    """The same, and takes as long as the test wants: until the gate is open."""
    job_id = context.task_result.id
    ledger.write(path, job_id, context.attempt, "start")
    Gate(gate).wait()
    ledger.write(path, job_id, context.attempt, "end")
    return job_id


@task(takes_context=True, max_attempts=2, backoff=Backoff(first=0, jitter=False))
def ledgered_failing_once(context: TaskContext, path: str) -> str:
    ledgered.func(context, path, 0.0)
    if context.attempt == 1:
        raise ConnectionError
    return context.task_result.id


@task(takes_context=True)
def ledgered_large(context: TaskContext, path: str, seconds: float, size: int) -> str:
    """The same, with a result of so many bytes that no store can make smaller by much."""
    ledgered.func(context, path, seconds)
    return os.urandom(size // 2).hex()


@task
def wait_at(gate: str, text: str = "") -> None:
    """Takes as long as the test wants: until that file is there. ``text``: of any size."""
    Gate(gate).wait()


@task(timeout=1)
def spin() -> None:
    """Python code that never ends."""
    while True:
        pass


@task(takes_context=True)
def spin_without_limit(context: TaskContext, path: str) -> None:
    ledger.write(path, context.task_result.id, context.attempt, "start")
    while True:
        pass


@task(timeout=0.3)
def swallow_everything() -> None:
    """Code that will not be ended by an exception."""
    while True:
        with suppress(BaseException):
            time.sleep(0.01)


@task(timeout=0.3, max_attempts=2, backoff=Backoff(first=0, jitter=False))
def sleep_through(path: str) -> None:
    """A call that no exception can end."""
    note.func(path, f"begins {os.getpid()}")
    time.sleep(60)


@task(timeout=1)
async def wait_long() -> None:
    await asyncio.sleep(60)


@task(timeout=0.3)
async def block_the_event_loop() -> None:
    time.sleep(60)


@task(timeout=0.5)
def hold_the_interpreter(limit: int = 40) -> None:
    """A call in C that lets no other thread run: each character more doubles its time."""
    re.match(r"(a+)+$", "a" * limit + "b")


@task(timeout=5)
def hold_it_too_long() -> None:
    hold_the_interpreter.func()


@task
def hold_it_for(seconds: float) -> str:
    """The same, and it sleeps meanwhile."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return "done"


@task(timeout=5, takes_context=True)
def nap_in_time(context: TaskContext, path: str, seconds: float) -> str:
    ledger.write(path, context.task_result.id, context.attempt, "start")
    time.sleep(seconds)  # what it does is to wait, and its time limit runs
    return "rested"


@task
def die(how: str) -> str:
    """End the process that runs this."""
    if how == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit code 0":
        os._exit(0)
    if how == "exit code 7":
        os._exit(7)
    if how == "SIGSEGV":
        ctypes.string_at(0)
    if how == "SIGABRT":
        os.abort()
    return "alive"


@task(rerun_on_crash=False)
def die_once() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task
def fork_and_return(path: str) -> str:
    """The copy returns from here too."""
    if os.fork() == 0:
        return "copy"
    note.func(path, "parent")
    return "parent"


@task(takes_context=True)
def wait_for_cancel(context: TaskContext, path: str = "") -> str:
    """``path``: a ledger, in which it says that it has begun."""
    if path:
        ledger.write(path, context.task_result.id, context.attempt, "start")
    while not context.is_cancelled:
        time.sleep(0.005)
    raise Discard("it was noticed")


@task(expires=0.1)
def soon_stale() -> str:
    return "ran"


@task
def grow(mib: int) -> int:
    """Take memory and keep it."""
    kept.append(b"x" * (mib << 20))
    return os.getpid()


kept: list[bytes] = []


@task
def my_pid() -> int:
    return os.getpid()


@task(timeout=0.5)
def interrupt_my_transaction(queue: str) -> None:
    """Leave a transaction open when the limit comes."""
    from django.db import transaction

    from taskq_django.models import PausedQueue

    with transaction.atomic():
        PausedQueue.objects.create(backend="default", queue_name=queue)
        while True:
            pass


@task(timeout=0.02)
def near_its_limit() -> None:
    """Ends at about the moment when it is to be ended."""
    deadline = time.monotonic() + 0.0205
    while time.monotonic() < deadline:
        pass


@task(takes_context=True)
def swallow_for_ever(context: TaskContext, path: str) -> None:
    ledger.write(path, context.task_result.id, context.attempt, "start")
    while True:
        with suppress(BaseException):
            time.sleep(0.01)


@task(takes_context=True)
async def aledgered(context: TaskContext, path: str, seconds: float) -> str:
    """The same as a coroutine."""
    job_id = context.task_result.id
    ledger.write(path, job_id, context.attempt, "start")
    await asyncio.sleep(seconds)
    ledger.write(path, job_id, context.attempt, "end")
    return job_id


@task(takes_context=True)
async def aledgered_at(context: TaskContext, path: str, gate: str) -> str:
    job_id = context.task_result.id
    ledger.write(path, job_id, context.attempt, "start")
    await Gate(gate).await_()
    ledger.write(path, job_id, context.attempt, "end")
    return job_id


@task
def cut_my_connection() -> bool:
    """The server ends the session of this thread; says whether the next query noticed."""
    from django.db import DatabaseError, InterfaceError, connection

    with connection.cursor() as cursor, suppress(DatabaseError):
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        else:
            cursor.execute("KILL CONNECTION_ID()")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError):
        return True
    return False


@task
def leave_open(queue: str, how: str) -> str:
    """Write something, and leave its transaction open."""
    from django.db import connection, transaction

    from taskq_django.models import PausedQueue

    if how == "autocommit off":
        transaction.set_autocommit(False)
    else:
        transaction.atomic().__enter__()
    PausedQueue.objects.create(backend="default", queue_name=queue)
    if how == "broken":
        with suppress(Exception), connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")
    return "left"


@task
def run_out_of_memory(mib: int) -> int:
    """Ask for more than the system gives."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mib << 20, limits[1]))
    try:
        return len(b"x" * (mib << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@task(takes_context=True, rerun_on_crash=False)
def ledgered_once(context: TaskContext, path: str, seconds: float) -> str:
    return ledgered.func(context, path, seconds)


@task(takes_context=True, rerun_on_crash=False)
def ledgered_once_at(context: TaskContext, path: str, gate: str) -> str:
    return ledgered_at.func(context, path, gate)


@task(takes_context=True, rerun_on_crash=False)
async def aledgered_once_at(context: TaskContext, path: str, gate: str) -> str:
    return await aledgered_at.func(context, path, gate)


@task(takes_context=True, rerun_on_crash=False)
async def aledgered_once(context: TaskContext, path: str, seconds: float) -> str:
    return await aledgered.func(context, path, seconds)


class Unspeakable(Exception):
    """Whoever asks for its text is told to exit."""

    def __str__(self) -> str:
        raise SystemExit(4)

    __repr__ = __str__


@task(max_attempts=2, backoff=Backoff(first=0, jitter=False))
def raise_unspeakable() -> None:
    raise Unspeakable


@task
def discard_unspeakably() -> None:
    raise Discard(Unspeakable())  # type: ignore[arg-type]


@task
async def araise_unspeakable() -> None:
    raise Unspeakable


@task
async def leave_later(how: str) -> str:
    """Ends, and leaves something on the event loop that ends it."""
    loop = asyncio.get_running_loop()

    async def later() -> None:
        await asyncio.sleep(0)
        raise SystemExit(3)

    def interrupt() -> None:
        raise KeyboardInterrupt

    if how == "exits":
        kept_alive.append(loop.create_task(later()))
    elif how == "interrupts":
        loop.call_soon(interrupt)
    elif how == "stops":
        loop.stop()
    elif how == "exits in a call":
        loop.call_later(0.001, lambda: (_ for _ in ()).throw(SystemExit(1)))
    return how


kept_alive: list[object] = []


@task
async def close_the_event_loop() -> None:
    """No other coroutine can run in this process any more."""
    loop: Any = asyncio.get_running_loop()

    def close() -> None:
        loop._thread_id = None  # what asyncio knows a running one by
        loop.stop()
        loop.close()

    loop.call_soon(close)
    await asyncio.sleep(60)


@task(max_attempts=3, backoff=Backoff(first=0, jitter=False))
def note_and_return(path: str, what: str) -> Any:
    """An effect, and a result that cannot be stored."""
    note.func(path, what)
    return {"object": object(), "too large": "x" * 3_000_000, "not a number": float("nan"), "surrogate": "\ud800"}[what]


@task
async def acount() -> int:
    from taskq_django.models import PausedQueue

    return await PausedQueue.objects.acount()


@task
async def apaused() -> list[str]:
    """One at a time, each in a call of its own."""
    from taskq_django.models import PausedQueue

    rows = PausedQueue.objects.order_by("queue_name").aiterator(chunk_size=1)
    return [row.queue_name async for row in rows]


@task
async def anote_row(queue: str) -> str:
    from taskq_django.models import PausedQueue

    await PausedQueue.objects.acreate(backend="default", queue_name=queue)
    return queue


@task
async def aleave_open(queue: str, how: str) -> str:
    """Leave the transaction of the coroutines' connection open, by one of the ways that there are."""
    from asgiref.sync import sync_to_async
    from django.db import transaction

    if how in ("autocommit off", "atomic block", "broken"):
        return await sync_to_async(leave_open.func)(queue, how)
    if how == "autocommit off, alone":
        await sync_to_async(transaction.set_autocommit)(False)
    elif how == "in another thread":
        return await asyncio.to_thread(leave_open.func, queue, "autocommit off")
    return "left"


@task(timeout=0.3)
async def block_the_orm(seconds: float) -> None:
    """Is to end in time; what it waits for does not."""
    from asgiref.sync import sync_to_async

    await sync_to_async(time.sleep)(seconds)


_left_behind: set[asyncio.Future[None]] = set()


@task
async def leave_the_orm_busy(seconds: float) -> None:
    """Ends; what it has called does not."""
    from asgiref.sync import sync_to_async

    _left_behind.add(asyncio.ensure_future(sync_to_async(time.sleep)(seconds)))
    await asyncio.sleep(0)  # it is called meanwhile


@task
async def activate(language: str) -> str:
    from django.utils import translation

    before = translation.get_language()
    translation.activate(language)
    return before


@task(takes_context=True, max_attempts=2, backoff=Backoff(first=0, jitter=False))
def note_and_retry(context: TaskContext) -> None:
    if context.attempt == 1:
        raise ConnectionError


@task
def say(text: str) -> None:
    print(text)  # noqa: T201


@task
def repeat(text: str, times: int) -> str:
    return text * times


@task
async def aecho(value: Any) -> Any:
    return value


@task
def length_of(text: str) -> int:
    return len(text)


@task(max_attempts=2, backoff=Backoff(first=0, jitter=False))
def fail_at_length(text: str, times: int) -> None:
    raise ValueError(text * times)


@task(aliases=("legacy.tasks.total",))
def total(*numbers: int) -> int:
    return sum(numbers)


@task(takes_context=True)
def count_to(context: TaskContext, total: int, text: str = "") -> int:
    """Says each number."""
    for done in range(1, total + 1):
        context.progress(done, total, text)
    return total


@task(takes_context=True)
async def acount_to(context: TaskContext, total: int) -> int:
    for done in range(1, total + 1):
        context.progress(done, total)
        await asyncio.sleep(0)
    return total


@task(takes_context=True, store_result=False)
def count_and_forget(context: TaskContext, total: int) -> None:
    context.progress(total, total)


@task(takes_context=True, max_attempts=2, backoff=Backoff(first=0, jitter=False))
def fail_at(context: TaskContext, done: int, total: int) -> None:
    """Gets one further at each attempt."""
    context.progress(done + context.attempt - 1, total, "copying")
    raise ConnectionError


@task(takes_context=True)
def say_and_wait(context: TaskContext, gate: str, is_atomic: bool = False) -> str:
    """Half-way until that file is there; ``is_atomic``: in a transaction that has written something."""
    from django.db import transaction

    from taskq_django.models import PausedQueue

    with transaction.atomic() if is_atomic else nullcontext():
        if is_atomic:
            PausedQueue.objects.create(backend="default", queue_name="nobody's")
        context.progress(1, 2, "half-way")
        Gate(gate).wait()
        context.progress(2, 2, "there")
    return "there"


@task(takes_context=True)
def report(context: TaskContext, **said: Any) -> None:
    context.progress(**said)


@task(takes_context=True, timeout=1)
def speak_in_a_transaction_for_ever(context: TaskContext) -> None:
    """Keeps the file of an SQLite database locked meanwhile."""
    from django.db import transaction

    from taskq_django.models import PausedQueue

    with transaction.atomic():
        PausedQueue.objects.create(backend="default", queue_name="nobody's")
        done = 0
        while True:
            context.progress(done := done + 1)
