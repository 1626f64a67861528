"""Where the project enqueues, and asks for what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import assert_type

from taskq_django import Progress, Result, await_for, wait_for

from .tasks import add, crawl, fetch, fetch_later, resize, send


def enqueue() -> None:
    assert_type(add.enqueue(1), Result[int])
    assert_type(add.enqueue(1, y=3).get(timeout=5), int)
    assert_type(add.delay(1).return_value, int)
    assert_type(add(1), int)
    assert_type(send.enqueue(1, to="me").get(), str)
    assert_type(fetch.enqueue("/").get(), bytes)
    assert_type(fetch_later.enqueue("/").get(), bytes)
    assert_type(resize.enqueue("a.png").get(timedelta(seconds=5)), float)
    assert_type(crawl.enqueue(3).get(), list[str])
    assert_type(add.using(run_after=60, priority=5).enqueue(1), Result[int])
    assert_type(fetch.using(queue_name="net").enqueue("/"), Result[bytes])
    assert_type(add.enqueue_many([(1,), {"x": 2}]), Sequence[Result[int]])
    assert_type(add.get_result("an id").get(), int)
    assert_type(fetch.get_result("an id").return_value, bytes)
    assert_type(add.enqueue(1).progress, Progress | None)
    wait_for([add.enqueue(1), fetch.enqueue("/")], timeout=5)


async def aenqueue() -> None:
    assert_type(await add.aenqueue(1), Result[int])
    assert_type(await (await fetch.aenqueue("/")).aget(timeout=5), bytes)
    assert_type(await fetch("/"), bytes)
    assert_type(await fetch_later("/"), bytes)
    assert_type(await add.aget_result("an id"), Result[int])
    await await_for([await add.aenqueue(1)])


def mistakes() -> None:
    add.enqueue("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    add.enqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    add.enqueue(1, z=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    add.delay(1, 2, 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    send.enqueue(1, "me")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    resize.enqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    crawl.enqueue("deep")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    add.using(queue="mail")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    add.using(run_after="tomorrow")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    send.enqueue(1, to=fetch.enqueue("/").get())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
