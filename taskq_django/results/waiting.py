"""Waits for several jobs at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal

from asgiref.sync import sync_to_async
from django.db import connections

from ..brokers import Broker
from ..brokers.waiting import Waiting
from ..exceptions import BrokerUnavailable, ResultTimeout, did_you_mean, has_twin
from ..states import FINAL, State
from ..store.connections import ask, in_transaction
from ..store.stories import read_standings
from .handle import IN_TESTS, Result

Enough = Literal["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"]
Parted = tuple[list[Result[Any]], list[Result[Any]]]
ENOUGH = ("ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION")

ASKED_AT_ONCE = 1000  # ids of one query


@has_twin
def wait_for(
    results: Iterable[Result[Any]],
    timeout: float | timedelta | None = None,
    return_when: Enough = "ALL_COMPLETED",
) -> Parted:
    """Wait for the end of jobs; returns those that have ended, and the others, both in the order given.

    ``return_when``, as in ``concurrent.futures``: all have ended, one has, or one has ended without success (or all).
    After ``timeout`` (seconds or a timedelta; None: never) it returns what it knows. The handles of what has ended are
    brought up to date; a job that is known no more, as a success that keeps no result, counts as ended.
    Raises ResultTimeout inside a transaction, where an end could not be seen, unless it has not to wait.
    """
    woken = threading.Event()
    parting = _Parting(results, return_when)
    with Waiting(parting.jobs(), timeout, woken.set) as waiting:
        while pause := parting.look(waiting):
            woken.wait(pause)
            woken.clear()
    return parting.parts()


async def await_for(
    results: Iterable[Result[Any]],
    timeout: float | timedelta | None = None,
    return_when: Enough = "ALL_COMPLETED",
) -> Parted:
    """``wait_for``, for coroutines."""
    woken, loop = asyncio.Event(), asyncio.get_running_loop()
    parting = await sync_to_async(_Parting)(results, return_when)
    with Waiting(parting.jobs(), timeout, lambda: loop.call_soon_threadsafe(woken.set)) as waiting:
        while pause := await sync_to_async(parting.look)(waiting):
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), pause)
            woken.clear()
    return parting.parts()


class _Parting:
    """Which of some jobs have ended."""

    def __init__(self, results: Iterable[Result[Any]], return_when: Enough) -> None:
        if return_when not in ENOUGH:
            known = f"It may be {', '.join(map(repr, ENOUGH))}. {did_you_mean(str(return_when), ENOUGH)}"
            raise ValueError(f"return_when is {return_when!r}. {known}".rstrip())
        self._results = list(results)
        self._return_when = return_when
        self._over = {result.id for result in self._results if result.state.is_final}

    def look(self, waiting: Waiting) -> float | None:
        """Seconds until the next look; None: it is enough, or the time is over."""
        for broker, ids in self._left():
            self._note_ended(broker, ids)
        if self._is_enough():
            return None
        if closed := next((broker for broker, _ in self._left() if in_transaction(connections[broker.database])), None):
            raise ResultTimeout(
                f"Jobs of TASKS[{closed.alias!r}] are waited for inside a transaction, where their end cannot be seen: "
                f"call wait_for() after the atomic block. {IN_TESTS}"
            )
        waiting.jobs = set(self.jobs())
        return waiting.pause()

    def parts(self) -> Parted:
        over = [result for result in self._results if result.id in self._over]
        return over, [result for result in self._results if result.id not in self._over]

    def jobs(self) -> Iterator[tuple[Broker, str]]:
        """Those that have not ended."""
        return ((broker, id_) for broker, ids in self._left() for id_ in ids)

    def _is_enough(self) -> bool:
        over, left = self.parts()
        if not left or self._return_when == "ALL_COMPLETED":
            return not left
        if self._return_when == "FIRST_COMPLETED":
            return bool(over)
        return any(result.state.is_final and result.state is not State.SUCCESSFUL for result in over)

    def _left(self) -> list[tuple[Broker, list[str]]]:
        """By broker; of each ASKED_AT_ONCE at most."""
        by_broker: dict[Broker, dict[str, None]] = {}
        for result in self._results:
            if result.id not in self._over:
                by_broker.setdefault(result._broker(), {})[result.id] = None
        return [
            (broker, list(ids)[start : start + ASKED_AT_ONCE])
            for broker, ids in by_broker.items()
            for start in range(0, len(ids), ASKED_AT_ONCE)
        ]

    def _note_ended(self, broker: Broker, ids: Collection[str]) -> None:
        """By one query that reads no text; then those that have ended are read."""
        from ..handles import stored_results

        standings = ask(broker.database, lambda: read_standings(ids, broker.database))
        if ended := [id_ for id_ in ids if id_ in standings and standings[id_].status in FINAL]:
            fresh = stored_results(ended, broker.database)
            for result in self._results:
                if result.id in fresh:
                    result._take_over(fresh[result.id])
            self._over.update(id_ for id_, result in fresh.items() if result.state.is_final)
        if unseen := [id_ for id_ in ids if id_ not in standings]:
            self._over.update(_unknown(unseen, broker))


def _unknown(ids: Collection[str], broker: Broker) -> set[str]:
    """Those that no place knows, where all can be asked."""
    if not broker.finds_waiting:
        return set()
    try:
        left = set(ids) - broker.find(ids).keys()
    except BrokerUnavailable:  # their end is written into the store all the same
        return set()
    # They may have left the engine for the store between the two.
    return left - read_standings(left, broker.database).keys() if left else left
