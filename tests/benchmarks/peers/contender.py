"""A system in the run: its driver, its workers, and what they cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import machine
from .marks import Marks
from .venvs import python_of

ROOT = Path(__file__).parents[3]


class Caller:
    """A process in a system's own virtual environment that enqueues and answers."""

    def __init__(self, spec: str, environment: dict[str, str], folder: Path) -> None:
        self.spec, self.folder = spec, folder
        self.system, _, self.variant = spec.partition(":")
        self.environment = {
            **os.environ,
            **environment,
            "BENCH_SYSTEM": self.system,
            "BENCH_VARIANT": self.variant,
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.peers.settings",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
        }
        self.log = folder / f"{self.system}-{self.variant}.log"
        python = python_of(self.system)
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [python, "-m", "tests.benchmarks.peers.driver", self.system],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, name: str, *args: Any) -> Any:
        self.send(name, *args)
        return self.answer()

    def send(self, name: str, *args: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([name, args]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"its driver died. {self.log.read_text()[-2000:]}"}
        if "error" in answer:
            raise RuntimeError(f"{self.spec}: {answer['error']}")
        return answer["value"]

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(20)


class Contender(Caller):
    """The one that makes the database, and removes it."""

    def __init__(self, spec: str, environment: dict[str, str], folder: Path) -> None:
        super().__init__(spec, environment, folder)
        self.ask("prepare")
        self.info = self.ask("info")

    def close(self) -> None:
        try:
            self.ask("destroy")
        finally:
            super().close()


class Callers:
    """Several more processes that call at a time, as a context."""

    def __init__(self, contender: Contender, processes: int) -> None:
        self._contender, self._processes = contender, processes

    def __enter__(self) -> Callers:
        like = self._contender
        self._callers = [Caller(like.spec, like.environment, like.folder) for _ in range(self._processes)]
        for caller in self._callers:
            caller.ask("connect")
        return self

    def __exit__(self, *error: object) -> None:
        for caller in self._callers:
            caller.close()

    def share(self, method: str, count: int) -> float:
        """Each calls it for as many and for other numbers; how many a second all have done."""
        each, begun = count // self._processes, time.monotonic()
        for n, caller in enumerate(self._callers):
            caller.send(method, each, n * each)
        for caller in self._callers:
            caller.answer()
        return each * self._processes / (time.monotonic() - begun)


@dataclass(frozen=True)
class Reading:
    """CPU seconds so far, at a moment."""

    at: float
    workers: float
    server: dict[str, float]  # by process
    engine: float

    def costs_since(self, before: Reading, jobs: int) -> dict[str, float]:
        """µs of CPU a job."""
        server = sum(cpu - before.server.get(pid, 0.0) for pid, cpu in self.server.items())
        used = {
            "worker_us": self.workers - before.workers,
            "server_us": server,
            "engine_us": self.engine - before.engine,
        }
        return {who: seconds / max(1, jobs) * 1e6 for who, seconds in used.items()}


class Workers:
    """The worker processes of a contender, as a context."""

    def __init__(self, contender: Contender, processes: int, mode: str = "noop") -> None:
        self._contender, self._processes, self._mode = contender, processes, mode

    def __enter__(self) -> Workers:
        contender = self._contender
        commands = contender.ask("worker", self._processes, self._mode)
        environment = {**contender.environment, "BENCH_PROCESSES": str(self._processes), "BENCH_MODE": self._mode}
        with contender.log.open("a") as log:
            self._started = [
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                for command in commands
            ]
        return self

    def __exit__(self, *error: object) -> None:
        family = [pid for process in self._started for pid in machine.tree(process.pid)]
        sessions = {process.pid for process in self._started}
        for process in self._started:
            process.send_signal(signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(6)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in family:  # those that outlived their parent
            try:
                if os.getsid(pid) in sessions:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def cpu(self) -> float:
        return machine.cpu(pid for process in self._started for pid in machine.tree(process.pid))

    def pss(self) -> float:
        return machine.pss(process.pid for process in self._started)

    def wait(self, condition: Any, limit: float) -> None:
        deadline = time.monotonic() + limit
        while not condition():
            if time.monotonic() > deadline or all(process.poll() is not None for process in self._started):
                said = self._contender.log.read_text()[-2000:]
                raise RuntimeError(f"{self._contender.spec}: not done after {limit:g} s or ended early. {said}")
            time.sleep(0.01)

    def read(self, own: bool = False) -> Reading:
        ask = self._contender.ask
        return Reading(time.monotonic(), self.cpu(), ask("server_cpu", own), ask("engine_cpu"))

    def drain(self, marks: Marks, count: int, limit: float = 240.0) -> dict[str, float]:
        """Rates and CPU from the first job's start until all ends are stored."""
        self.wait(lambda: marks.any_began(count), 60)
        before, begun, (used, total) = marks.ended(count), self.read(), machine.busy()
        self.wait(lambda: marks.all_ended(count), limit)
        settled_at = self._contender.ask("settled_at", 20.0)
        jobs = max(1, count - before)
        costs = self.read().costs_since(begun, jobs)
        used_now, total_now = machine.busy()
        first, last = marks.first_began(count), marks.last_ended(count)
        others = used_now - used - sum(costs.values()) * jobs / 1e6
        return {
            "rate": count / (last - first),
            "settled_rate": count / (max(settled_at, last) - first) if settled_at else 0.0,
            **costs,
            "foreign": max(0.0, others) / max(total_now - total, 1e-9),
            "run_twice": marks.run_twice(count),
        }

    def drain_long(self, marks: Marks, count: int, enough: int, limit: float = 20.0) -> dict[str, float]:
        """Rates and CPU of the first 2 s and of the last 4, until ``enough`` have ended or ``limit`` s are over."""
        self.wait(lambda: marks.any_began(count), 60)
        looks = [self.read()]
        over = False
        while not over:
            self.wait(lambda: time.monotonic() > looks[-1].at + 0.2, 60)
            looks.append(self.read())
            over = marks.ended(count) >= enough or looks[-1].at > looks[0].at + limit
        begun, ended = looks[0], looks[-1]
        third = (ended.at - begun.at) / 3  # of what is short
        early = next(look for look in looks if look.at >= begun.at + min(2.0, third))
        late = [look for look in looks if look.at <= ended.at - min(4.0, third)][-1]
        figures = {"seconds": ended.at - begun.at}
        for name, since, until in (("first", begun, early), ("last", late, ended)):
            figures |= _between(name, marks, count, since, until)
        return figures

    def go_on(self, marks: Marks, count: int, lasts: float) -> dict[str, float]:
        """Rate and CPU of the first seconds in which these workers drain what others have left."""
        before = marks.ended(count)
        self.wait(lambda: marks.ended(count) > before, 60)
        begun = self.read()
        self.wait(lambda: time.monotonic() > begun.at + lasts or marks.all_ended(count), 60)
        return _between("again", marks, count, begun, self.read())


def _between(name: str, marks: Marks, count: int, since: Reading, until: Reading) -> dict[str, float]:
    jobs = marks.ended_between(count, since.at, until.at)
    costs = sum(until.costs_since(since, jobs).values())
    return {f"{name}_rate": jobs / (until.at - since.at), f"{name}_us": costs}
