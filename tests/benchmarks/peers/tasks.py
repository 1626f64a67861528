"""Our tasks; a worker imports the ``tasks`` module of each installed app."""

from __future__ import annotations

import os

from taskq_django import task

from . import marks, orm


@task(store_result=os.environ.get("BENCH_VARIANT") != "redis")
def noop(n: int) -> None:
    marks.noop(n)


@task
def read_and_write(n: int) -> None:
    orm.read_and_write(n)


@task
def nap(n: int) -> None:
    marks.nap(n)


@task
async def anap(n: int) -> None:
    await marks.anap(n)
