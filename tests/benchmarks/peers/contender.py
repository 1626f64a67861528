"""A system in the run: its driver, its workers, and what they cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from . import machine
from .marks import Marks
from .venvs import python_of

ROOT = Path(__file__).parents[3]


class Contender:
    def __init__(self, spec: str, environment: dict[str, str], folder: Path) -> None:
        self.spec = spec
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
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, "-m", "tests.benchmarks.peers.driver", self.system],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.ask("prepare")
        self.info = self.ask("info")

    def ask(self, name: str, *args: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([name, args]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"its driver died. {self.log.read_text()[-2000:]}"}
        if "error" in answer:
            raise RuntimeError(f"{self.spec}: {answer['error']}")
        return answer["value"]

    def close(self) -> None:
        assert self.process.stdin
        try:
            self.ask("destroy")
        finally:
            self.process.stdin.close()
            self.process.wait(20)


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

    def drain(self, marks: Marks, count: int, limit: float = 240.0) -> dict[str, float]:
        """Rates and CPU from the first job's start until all ends are stored."""
        ask = self._contender.ask
        self.wait(lambda: marks.any_began(count), 60)
        before = marks.ended(count)
        worker, server, engine, (used, total) = self.cpu(), ask("server_cpu"), ask("engine_cpu"), machine.busy()
        self.wait(lambda: marks.all_ended(count), limit)
        settled_at = ask("settled_at", 20.0)
        worker_used = self.cpu() - worker
        engine_used = ask("engine_cpu") - engine
        server_used = sum(cpu - server.get(pid, 0.0) for pid, cpu in ask("server_cpu").items())
        used_now, total_now = machine.busy()
        first, last = marks.first_began(count), marks.last_ended(count)
        jobs = max(1, count - before)
        return {
            "rate": count / (last - first),
            "settled_rate": count / (max(settled_at, last) - first) if settled_at else 0.0,
            "worker_us": worker_used / jobs * 1e6,
            "server_us": server_used / jobs * 1e6,
            "engine_us": engine_used / jobs * 1e6,
            "foreign": max(0.0, used_now - used - worker_used - server_used - engine_used)
            / max(total_now - total, 1e-9),
            "run_twice": marks.run_twice(count),
        }
