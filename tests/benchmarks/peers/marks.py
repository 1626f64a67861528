"""When each task began and ended, in one file that all processes of a run map: a mark costs a microsecond.

Columns of SLOTS doubles: enqueued, began, ended (CLOCK_MONOTONIC, system-wide on Linux), times run.
Standard library only: every peer's tasks import it.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
import time
from functools import cache

SLOTS = 1 << 20
SIZE = SLOTS * 8 * 4
NAP = 0.05  # seconds
DOUBLE = struct.Struct("d")


@cache
def mapped() -> mmap.mmap:
    fd = os.open(os.environ["BENCH_MARKS"], os.O_RDWR | os.O_CREAT)
    try:
        if os.fstat(fd).st_size < SIZE:
            os.ftruncate(fd, SIZE)
        return mmap.mmap(fd, SIZE)
    finally:
        os.close(fd)


def _write(column: int, n: int, moment: float) -> None:
    DOUBLE.pack_into(mapped(), (column * SLOTS + n) * 8, moment)


def enqueued(n: int) -> None:
    _write(0, n, time.monotonic())


def began(n: int) -> None:
    _write(1, n, time.monotonic())


def ended(n: int) -> None:
    _write(2, n, time.monotonic())
    at = (3 * SLOTS + n) * 8
    DOUBLE.pack_into(mapped(), at, DOUBLE.unpack_from(mapped(), at)[0] + 1)


def noop(n: int) -> None:
    began(n)
    ended(n)


def nap(n: int) -> None:
    began(n)
    time.sleep(NAP)
    ended(n)


async def anap(n: int) -> None:
    began(n)
    await asyncio.sleep(NAP)
    ended(n)


class Marks:
    """What the run reads of them."""

    def __init__(self) -> None:
        self._column = memoryview(mapped()).cast("d")
        self._passed = 0  # all before this one have ended

    def clear(self) -> None:
        for size in (0, SIZE):  # what was cut off is zeros
            os.truncate(os.environ["BENCH_MARKS"], size)
        self._passed = 0

    def waits(self, count: int) -> list[float]:
        """Seconds from enqueue to start."""
        return [self._column[SLOTS + n] - self._column[n] for n in range(count)]

    def any_began(self, count: int) -> bool:
        return mapped()[SLOTS * 8 : (SLOTS + count) * 8] != bytes(count * 8)

    def all_ended(self, count: int) -> bool:
        while self._passed < count and self._column[2 * SLOTS + self._passed]:
            self._passed += 1
        return self._passed >= count

    def ended(self, count: int) -> int:
        return sum(1 for moment in self._column[2 * SLOTS : 2 * SLOTS + count] if moment)

    def ended_between(self, count: int, since: float, until: float) -> int:
        return sum(1 for moment in self._column[2 * SLOTS : 2 * SLOTS + count] if since < moment <= until)

    def first_began(self, count: int) -> float:
        return min(moment for moment in self._column[SLOTS : SLOTS + count] if moment)

    def last_ended(self, count: int) -> float:
        return max(self._column[2 * SLOTS : 2 * SLOTS + count])

    def run_twice(self, count: int) -> int:
        return sum(1 for times in self._column[3 * SLOTS : 3 * SLOTS + count] if times > 1)
