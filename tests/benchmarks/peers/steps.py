"""The steps of a run. In each round every system has its turn, so that all sides of a ratio see the same minutes."""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import machine
from .contender import Callers, Contender, Workers
from .marks import Marks

PRODUCERS = 8
SCENE_ROWS = {"history": 1_000_000, "future": 300_000, "paused": 500_000, "snapshot": 0}


class Run:
    def __init__(self, asked: Namespace, results: dict[str, Any], save: Callable[[], None]) -> None:
        self._asked, self._results, self._save = asked, results, save
        self._marks = Marks()

    def measure(self, environment: dict[str, str], folder: Path) -> None:
        with ExitStack() as stack:
            contenders = []
            for spec in self._asked.systems:
                contender = Contender(spec, {**environment, **connection_texts(spec, environment)}, folder)
                stack.callback(contender.close)
                contenders.append(contender)
                known = self._results["systems"].setdefault(spec, {"steps": {}})
                known.update(info=contender.info)
                for step in self._asked.steps:
                    for name in [name for name in known["steps"] if name.split("-")[0] == step]:
                        del known["steps"][name]
            for name in self._asked.steps:
                rounds = 1 if name in ONCE else self._asked.rounds
                for number in range(1, rounds + 1):
                    for contender in contenders:
                        if name not in OPTIONAL or name in contender.info["also"]:
                            self._one(name, contender, f"{number}/{rounds}")

    def _one(self, name: str, contender: Contender, number: str) -> None:
        begun = time.monotonic()
        steps = self._results["systems"][contender.spec]["steps"]
        try:
            for key, figures in STEPS[name](self, contender):
                steps.setdefault(key, []).append(figures)
                shown = " ".join(f"{what}={figure:,.4g}" for what, figure in figures.items())
                print(f"{contender.spec:<24} {key:<18} {number}  {shown}", flush=True)
        except RuntimeError as error:
            print(f"{contender.spec:<24} {name:<18} {number}  FAILED {error}", file=sys.stderr, flush=True)
        self._results["systems"][contender.spec].setdefault("seconds", {})[name] = round(time.monotonic() - begun, 1)
        self._save()

    # --- steps: each yields (key, figures) --------------------------------------------------------------------------

    def enqueue(self, contender: Contender) -> Any:
        """One by one, and beside us the raw driver's INSERT of the same row."""
        count = self._scaled(max(1000, contender.info["jobs"] // 4))
        self._fresh(contender)
        yield "enqueue-one", contender.ask("timed", "enqueue", count)
        if contender.system == "taskq_django":
            self._fresh(contender)
            yield "enqueue-raw", contender.ask("timed", "raw_insert", count)

    def bulk(self, contender: Contender) -> Any:
        if contender.info["has_bulk"]:
            count = self._scaled(max(5000, contender.info["jobs"]))
            self._fresh(contender)
            yield "bulk", contender.ask("timed", "enqueue_all", count)
        if contender.info["has_raw_bulk"]:
            self._fresh(contender)
            yield "bulk-raw", contender.ask("timed", "raw_bulk", count)

    def drain(self, contender: Contender) -> Any:
        for processes in (1, 2):
            self._fresh(contender)
            yield f"drain-p{processes}", self._drain(contender, processes)

    def latency(self, contender: Contender) -> Any:
        """At 40 jobs a second, with what they cost the server; and before, what two idle worker processes cost."""
        count = self._scaled(300)
        self._fresh(contender)
        with Workers(contender, 2) as workers:
            contender.ask("enqueue_at_leisure", 1, 2)
            workers.wait(lambda: self._marks.all_ended(1), 30)
            time.sleep(2)  # until the start is over
            pss, cpu, begun = workers.pss(), workers.cpu(), time.monotonic()
            time.sleep(5)  # the span over which idling is measured
            share = (workers.cpu() - cpu) / (time.monotonic() - begun)
            self._marks.clear()
            busy = workers.read(own=True)
            contender.ask("enqueue_at_leisure", count, 40)
            workers.wait(lambda: self._marks.all_ended(count), 60)
            costs = workers.read(own=True).costs_since(busy, count)
        waits = sorted(wait * 1000 for wait in self._marks.waits(count))
        yield (
            "latency",
            {
                "p50": waits[count // 2],
                "p99": waits[int(count * 0.99)],
                "pss_mib": pss,
                "idle_cpu": share,
                "server_ms": costs["server_us"] / 1000,
            },
        )

    def naps(self, contender: Contender) -> Any:
        """2,000 tasks that sleep 50 ms, 100 at once: 2,000 a second would be ideal."""
        for kind in contender.info["naps"]:
            count = self._scaled(2000)
            self._fresh(contender)
            contender.ask("enqueue_naps", count, kind)
            contender.ask("analyze")
            with Workers(contender, 1, kind) as workers:
                yield f"naps-{kind}", workers.drain(self._marks, count)

    def scenes(self, contender: Contender) -> Any:
        """The same drain with an empty database, and with much else in it."""
        for scene in contender.info["scenes"]:
            self._fresh(contender)
            for _ in range(self._asked.rounds):
                self._fresh(contender)
                yield f"scenes-{scene}-empty", self._drain(contender, 1)
            if scene == "history":  # a finished job is there to be copied
                contender.ask("add_history", self._scaled(SCENE_ROWS[scene]))
            else:
                self._fresh(contender)
                if scene != "snapshot":
                    contender.ask(f"add_{scene}", self._scaled(SCENE_ROWS[scene]))
            for _ in range(self._asked.rounds):
                self._marks.clear()
                if scene == "snapshot":
                    self._fresh(contender)
                    contender.ask("open_snapshot")
                try:
                    yield f"scenes-{scene}-full", self._drain(contender, 1)
                finally:
                    if scene == "snapshot":
                        contender.ask("close_snapshot")
        self._fresh(contender)

    def long(self, contender: Contender) -> Any:
        """20 s of a long backlog, or nine tenths of it: is the end as fast as the beginning?

        A drain that goes on costs the machine more than one that begins, whatever the store holds: the system writes
        out what it has put off. So the store's part is told by other workers that begin where the first ones stop.
        """
        count = self._scaled(contender.info["waiting"])
        self._fresh(contender)
        self._fill(contender, count)
        machine.wait_until_quiet(self._asked.quiet_wait)
        with Workers(contender, processes_of(contender)) as workers:
            figures = workers.drain_long(self._marks, count, count * 9 // 10)
        os.sync()
        machine.wait_until_quiet(self._asked.quiet_wait)
        with Workers(contender, processes_of(contender)) as workers:
            yield "long", figures | workers.go_on(self._marks, count, min(2.0, figures["seconds"] / 3))
        self._fresh(contender)

    def queues(self, contender: Contender) -> Any:
        """The same jobs in one queue, and in a thousand."""
        for key, fill in (("one", "enqueue_all"), ("many", "enqueue_in_queues")):
            self._fresh(contender)
            yield f"queues-{key}", self._drain(contender, processes_of(contender), fill)

    def producers(self, contender: Contender) -> Any:
        """Eight processes that enqueue one by one while others drain."""
        count = self._scaled(contender.info["jobs"]) // PRODUCERS * PRODUCERS
        self._fresh(contender)
        with Callers(contender, PRODUCERS) as callers, Workers(contender, processes_of(contender)) as workers:
            callers.share("enqueue", PRODUCERS)  # all have begun, and their start does not count
            workers.wait(lambda: self._marks.all_ended(PRODUCERS), 60)
            self._marks.clear()
            machine.wait_until_quiet(self._asked.quiet_wait)
            begun = workers.read()
            rate = callers.share("enqueue", count)
            workers.wait(lambda: self._marks.all_ended(count), 60)
            contender.ask("settled_at", 20.0)
            yield "producers", {"rate": rate, **workers.read().costs_since(begun, count)}

    def orm(self, contender: Contender) -> Any:
        """A task that reads and writes a row; and beside us a bare loop of it in as many processes."""
        contender.ask("add_users")
        self._fresh(contender)
        yield "orm", self._drain(contender, 2, "enqueue_orm", "orm")
        if contender.system == "taskq_django":
            with Callers(contender, 2) as callers:
                callers.share("read_and_write", 2)  # they have connected
                yield "orm-floor", {"rate": callers.share("read_and_write", self._scaled(contender.info["jobs"]))}

    # --- parts ---------------------------------------------------------------------------------------------------

    def _scaled(self, count: int) -> int:
        return max(10, int(count * self._asked.scale))

    def _fresh(self, contender: Contender) -> None:
        contender.ask("clear")
        self._marks.clear()

    def _drain(
        self, contender: Contender, processes: int, fill: str = "enqueue_all", mode: str = "noop"
    ) -> dict[str, float]:
        count = self._scaled(contender.info["jobs"])
        engine = contender.ask("engine_cpu")
        self._fill(contender, count, fill)
        sent = contender.ask("engine_cpu") - engine
        machine.wait_until_quiet(self._asked.quiet_wait)
        with Workers(contender, processes, mode) as workers:
            figures = workers.drain(self._marks, count)
        if engine:
            figures["life_us"] = sent / count * 1e6 + figures["engine_us"]
        return figures

    def _fill(self, contender: Contender, count: int, fill: str = "enqueue_all") -> None:
        contender.ask(fill, count)
        contender.ask("analyze")


def processes_of(contender: Contender) -> int:
    """As many as serve it best: on SQLite a second one only waits for the first."""
    return 1 if "sqlite" in contender.variant else 2


STEPS: dict[str, Callable[[Run, Contender], Any]] = {
    "drain": Run.drain,
    "enqueue": Run.enqueue,
    "bulk": Run.bulk,
    "latency": Run.latency,
    "naps": Run.naps,
    "scenes": Run.scenes,
    "long": Run.long,
    "queues": Run.queues,
    "producers": Run.producers,
    "orm": Run.orm,
}
OPTIONAL = {"long", "queues", "producers", "orm"}  # for those that name them in ``also``
ONCE = {"scenes"}  # it has its rounds inside


def connection_texts(spec: str, environment: dict[str, str]) -> dict[str, str]:
    """The database's URL, for those that do not connect by Django."""
    server = json.loads(environment["BENCH_POSTGRESQL"])
    if not server:
        return {}
    password = f":{server['PASSWORD']}" if server.get("PASSWORD") else ""
    where = f"{server['USER']}{password}@{server['HOST']}:{server.get('PORT') or 5432}"
    return {"BENCH_CONNINFO": f"postgresql://{where}/bench_{spec.replace(':', '_')}"}
