"""Stacks of coroutines; those of threads are in ``system``, where a signal asks for them."""

from __future__ import annotations

import asyncio

from taskq_django.worker import stacks


async def outer(gate: asyncio.Event) -> None:
    await inner(gate)


async def inner(gate: asyncio.Event) -> None:
    await gate.wait()


def test_a_coroutine_that_waits_shows_where() -> None:
    async def look() -> str:
        gate = asyncio.Event()
        task = asyncio.create_task(outer(gate))
        await asyncio.sleep(0)
        shown = stacks.dump({}, [("shop.tasks.wait[7]", task)])
        gate.set()
        await task
        return shown

    head, _, shown = asyncio.run(look()).partition("--- coroutine  shop.tasks.wait[7]")
    assert "--- MainThread" in head
    assert shown.index("in outer") < shown.index("in inner") < shown.index("in wait")


def test_a_coroutine_that_has_ended_shows_nothing() -> None:
    async def look() -> str:
        gate = asyncio.Event()
        gate.set()
        task = asyncio.create_task(outer(gate))
        await task
        return stacks.dump({}, [("shop.tasks.wait[7]", task)])

    assert asyncio.run(look()).endswith("--- coroutine  shop.tasks.wait[7]\n\n")
