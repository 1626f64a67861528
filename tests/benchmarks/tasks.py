"""The tasks that the benchmark runs."""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
import time
from functools import cache

from taskq_django import task

SLOTS = 1 << 17


@cache
def marks() -> mmap.mmap:
    """A column of start times (monotonic seconds, system-wide on Linux), shared by all processes of a run."""
    fd = os.open(os.environ["TASKQ_BENCH_MARKS"], os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, SLOTS * 8)
    return mmap.mmap(fd, SLOTS * 8)


@task
def noop(n: int) -> None:
    struct.pack_into("d", marks(), n * 8, time.monotonic())


@task
async def anoop(n: int) -> None:
    struct.pack_into("d", marks(), n * 8, time.monotonic())


@task
def nap(n: int) -> None:
    time.sleep(0.05)  # stands for a task that waits


@task
async def anap(n: int) -> None:
    await asyncio.sleep(0.05)
