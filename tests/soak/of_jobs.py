"""Jobs that harm the process which runs them, beside those that the ledger is about."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

from .bench import Bench, wait_for
from .of_processes import kill_a_process

LARGE = (1 << 20) - 1000  # bytes of a result, of the mebibyte that the settings allow
FLOOD = 50


def run_modules_that_end_their_process(bench: Bench, victim: Any) -> Any:
    ids = bench.late.enqueue("deadly.never")
    return lambda: _wait_until_ended(bench, ids)


def run_coroutines_that_end_their_event_loop(bench: Bench, victim: Any) -> Any:
    from tests.app import tasks

    bad = [tasks.leave_later.enqueue(how) for how in ("exits", "interrupts", "stops", "exits in a call")]
    bad += [tasks.araise_unspeakable.enqueue(), tasks.raise_unspeakable.enqueue()]
    return lambda: _wait_until_ended(bench, [result.id for result in bad])


def run_a_flood_of_killers(bench: Bench, victim: Any) -> Any:
    """Before all that waits. It would take minutes: when one has a process of its own, what is left is cancelled."""
    from taskq_django import control
    from tests.app import tasks

    def wards() -> int:
        return sum(worker.output.count("gets a process of its own") for worker in bench.workers)

    before = wards()
    ways = random.choices(["SIGKILL", "SIGSEGV", "exit code 7", "SIGABRT"], k=FLOOD)
    flood = tasks.die.using(priority=10).enqueue_many([(how,) for how in ways])
    ids = [killer.id for killer in flood]

    def mend() -> None:
        wait_for(lambda: wards() > before, what=bench.outputs)
        control.cancel(ids, tasks.die.get_backend().broker)
        _wait_until_ended(bench, ids)

    return mend


def raise_from_the_receivers(bench: Bench, victim: Any) -> Any:
    """What ends a thread, from each one that is told of an end."""
    bench.rude.write_text(random.choice(["exit", "interrupt", "close"]))
    return lambda: bench.rude.write_text("")


def kill_a_process_with_results_of_a_mebibyte(bench: Bench, victim: Any) -> Any:
    from taskq_django.models import JobResult
    from tests.app import tasks

    ledger = str(bench.folder / f"large{bench.rounds}")
    large = tasks.ledgered_large.enqueue_many([(ledger, 0.05, LARGE)] * 8)
    kill_a_process(bench, victim)
    ids = [each.id for each in large]

    def mend() -> None:
        _wait_until_ended(bench, ids)
        JobResult.objects.filter(id__in=ids).delete()  # else a hundred such rounds would fill the disk

    return mend


def _wait_until_ended(bench: Bench, ids: Collection[str]) -> None:
    from taskq_django.models import JobResult

    rows = JobResult.objects.filter(id__in=ids)
    wait_for(lambda: rows.count() == len(ids), timeout=120, what=bench.outputs)


FAULTS = [
    run_modules_that_end_their_process,
    run_coroutines_that_end_their_event_loop,
    run_a_flood_of_killers,
    raise_from_the_receivers,
    kill_a_process_with_results_of_a_mebibyte,
]
