"""The bench of jobs on a Redis, and its faults. Half of the jobs have an outbox, half none.

A fault may have Redis forget what waited in it; that is counted apart from what is lost. Every id is in one place at
most, and after a round none is left anywhere.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from .bench import JOBS, ROOT, SECONDS, Bench, wait_for
from .figures import Figures
from .of_processes import stop_a_supervisor_for_longer_than_its_lease

STEPS = 12  # of a producer with an outbox; see tests/support/producing.py
OF_PRODUCERS = 5  # jobs of one of them
USUAL = ("default", "plain")  # the aliases whose Redis is one server
QUIET = 2.0  # seconds in which nobody begins what is nowhere: it is forgotten


class MessageBench(Bench):
    """Three workers, and a Redis of its own."""

    def __init__(self, folder: Path, server: Any, disk: Path | None, *, pooled: bool = False) -> None:
        from django.test import override_settings

        from tests.support.proxy import FaultProxy
        from tests.support.redis_servers import Pair, Redis

        self.redis = Redis(appendonly="yes", appendfsync="always")
        self.redis.start()
        self.line = FaultProxy("127.0.0.1", self.redis.port)  # between the workers and the Redis
        self.pair = Pair().start()
        self.aliases = USUAL
        override_settings(TASKS=self._backends(self.redis.url)).enable()
        theirs = self._backends(f"redis://127.0.0.1:{self.line.port}/0")
        super().__init__(folder, server, disk, f"TASKS = {theirs!r}", pooled=pooled)
        self.workers.append(self.start())

    def _backends(self, url: str) -> dict[str, Any]:
        at = {"BACKEND": "taskq_django.TaskqBackend"}
        sentinel = {"broker": self.pair.url, "transport_options": {"master_name": "mymaster"}, "outbox": True}
        return {
            "default": at | {"OPTIONS": {"broker": url, "outbox": True}},
            "plain": at | {"OPTIONS": {"broker": url}},
            "watched": at | {"OPTIONS": sentinel},
        }

    def stop(self) -> None:
        super().stop()
        self.line.close()
        self.redis.remove()
        self.pair.remove()

    @property
    def name(self) -> str:
        with self.redis.client() as client:
            return f"Redis {client.info('server')['redis_version']} with {super().name}"

    def client_of(self, alias: str) -> Any:
        return (self.pair.master if alias == "watched" else self.redis).client()

    def enqueue(self, path: str) -> set[str]:
        from tests.app import tasks

        part = [(path, SECONDS)] * (JOBS // len(self.aliases))
        sent = [tasks.ledgered.using(backend=alias).enqueue_many(part) for alias in self.aliases]
        return {result.id for each in sent for result in each}

    def waiting(self, ids: set[str]) -> set[str]:
        """Those that wait or run, wherever; each is in one place."""
        from taskq_django.models import QueuedJob
        from tests.support.redis_places import places

        found = {str(id_) for id_ in QueuedJob.objects.values_list("id", flat=True)}
        for alias in self.aliases:
            with self.client_of(alias) as client:
                there = places(client, alias)
            assert max(there.values(), default=1) == 1, there
            found |= set(there)
        return ids & found

    def round(self, fault: Callable[[Bench, Any], Any]) -> Figures:
        if fault in PRODUCERS:
            return self._round_of_producer(fault)
        self.aliases = ("watched",) if fault is fail_redis_over else USUAL
        figures = super().round(fault)
        self._check_whole()
        return figures

    def wait_for_end(self, ids: set[str], ledger: Any, fault: Any) -> set[str]:
        """Until none is left; the ids of those of which there is no result."""
        from taskq_django.models import JobResult

        def left() -> set[str]:
            return ids - {str(id_) for id_ in JobResult.objects.filter(id__in=ids).values_list("id", flat=True)}

        quiet_since = time.monotonic()

        def over() -> bool:
            nonlocal quiet_since
            # A worker may hold what Redis has forgotten, and begin it yet.
            if fault not in FORGETFUL or self.waiting(left()) or ledger.running():
                quiet_since = time.monotonic()
            return not left() or time.monotonic() - quiet_since > QUIET

        wait_for(over, timeout=180, what=self.outputs)
        return left()

    def _check_whole(self) -> None:
        from tests.support.redis_places import assert_whole, bodies

        for alias in self.aliases:
            with self.client_of(alias) as client:
                is_empty = partial(lambda *at: not bodies(*at), client, alias)
                wait_for(is_empty, what=self.outputs)
                assert not assert_whole(client, alias)

    def _round_of_producer(self, fault: Any) -> Figures:
        from taskq_django.models import QueuedJob
        from tests.support.ledger import Ledger

        self.rounds += 1
        self.aliases = USUAL
        ledger, notes = Ledger(self.folder / f"ledger{self.rounds}"), self.folder / f"notes{self.rounds}"
        backend, kept = PRODUCERS[fault]
        step = random.randint(1, STEPS)
        program = [sys.executable, "-m", "tests.support.producing"]
        from django.db import connection

        name = {"TASKQ_TEST_NAME": str(connection.settings_dict["NAME"])}
        flags = map(str, (notes, ledger.path, OF_PRODUCERS, step, backend))
        subprocess.run([*program, *flags], cwd=ROOT, env={**os.environ, **name, **self.env}, check=False)
        lines = [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []
        committed = {id_ for what, id_ in lines if what == "committed"}
        ids = {id_ for what, id_ in lines if what == kept}
        wait_for(lambda: not QueuedJob.objects.exists(), timeout=180)
        self._check_whole()
        wait_for(lambda: not ledger.running(), timeout=180)
        lost = ledger.lost(ids)
        return Figures(
            times=1,
            jobs=OF_PRODUCERS,
            lost=len(lost),
            forgotten=len(committed - ids - set(ledger.stories())),
            duplicated=ledger.duplicated(),
            overlapped=ledger.overlapped(),
        )


# --- the faults -------------------------------------------------------------------------------------------------------


def kill_redis_that_writes_always(bench: MessageBench, victim: Any) -> None:
    _kill_redis(bench, appendfsync="always")


def kill_redis_that_writes_each_second(bench: MessageBench, victim: Any) -> None:
    _kill_redis(bench, appendfsync="everysec")


def kill_redis_that_keeps_nothing(bench: MessageBench, victim: Any) -> Any:
    _kill_redis(bench, appendonly="no")

    def mend() -> None:
        from tests.support.redis_servers import eventually

        bench.redis.options["appendonly"] = "yes"
        with bench.redis.client() as client:
            client.config_set("appendonly", "yes")
            eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"])

    return mend


def _kill_redis(bench: MessageBench, **options: str) -> None:
    bench.redis.options.update(options)
    with bench.redis.client() as client:
        for name, value in options.items():
            client.config_set(name, value)
    bench.redis.kill()
    bench.redis.start()


def mute_redis_for_longer_than_a_lease(bench: MessageBench, victim: Any) -> None:
    bench.redis.freeze()
    time.sleep(1.2)  # the length of the fault
    bench.redis.thaw()


def fill_redis(bench: MessageBench, victim: Any) -> None:
    with bench.redis.client() as client:
        client.config_set("maxmemory", "1mb")
        time.sleep(1.2)  # the length of the fault
        client.config_set("maxmemory", "0")


def lose_what_redis_answers(bench: MessageBench, victim: Any) -> None:
    assert bench.line.lose(answers=True)


def lose_what_redis_is_asked(bench: MessageBench, victim: Any) -> None:
    assert bench.line.lose(requests=True)


def fail_redis_over(bench: MessageBench, victim: Any) -> None:
    """To a replica, by a sentinel: what the replica had not heard of is forgotten."""
    bench.pair.fail_over()


def kill_a_process_whose_supervisor_sleeps(bench: MessageBench, victim: Any) -> Any:
    """So that two others and, late, its own want to rescue what it held."""
    children = victim.children()
    mend = stop_a_supervisor_for_longer_than_its_lease(bench, victim)
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return mend


def kill_a_producer_with_an_outbox(bench: MessageBench, victim: Any) -> None: ...


def kill_a_producer_without_an_outbox(bench: MessageBench, victim: Any) -> None: ...


# The alias, and what it has promised not to lose.
PRODUCERS: dict[Any, tuple[str, str]] = {
    kill_a_producer_with_an_outbox: ("default", "committed"),
    kill_a_producer_without_an_outbox: ("plain", "published"),
}
FORGETFUL: set[Any] = {kill_redis_that_keeps_nothing, fail_redis_over}
FAULTS = [
    kill_redis_that_writes_always,
    kill_redis_that_writes_each_second,
    kill_redis_that_keeps_nothing,
    mute_redis_for_longer_than_a_lease,
    fill_redis,
    lose_what_redis_answers,
    lose_what_redis_is_asked,
    fail_redis_over,
    kill_a_process_whose_supervisor_sleeps,
    *PRODUCERS,
]
