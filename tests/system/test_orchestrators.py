"""Real workers and beats, asked by an orchestrator."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest
from django.conf import settings
from django.db import connection

from taskq_django.worker import heartbeat
from tests.app import tasks
from tests.support.asking import ask
from tests.support.gates import Gate
from tests.support.proxy import FaultProxy
from tests.support.redis_servers import Redis
from tests.support.servers import is_gone
from tests.support.workers import ROOT, RealBeat, RealWorker, wait_for

Start = Callable[..., RealWorker]


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
        return number


def status(port: int, path: str) -> int:
    """0 where nobody listens."""
    try:
        return ask(port, path)[0]
    except OSError:
        return 0


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_worker_is_ready_until_it_is_told_to_stop(
    start_worker: Start, tmp_path: Path, port: int, processes: str
) -> None:
    worker = start_worker("-p", processes, "--health-port", str(port))
    wait_for(lambda: status(port, "/ready") == 200, what=lambda: worker.output)
    wait_for(lambda: status(port, "/live") == 200)
    assert f"0.0.0.0:{port}, /live and /ready" in worker.output
    gate = Gate(tmp_path / "gate")
    tasks.wait_at.enqueue(str(gate))
    wait_for(gate.is_reached, what=lambda: worker.output)

    worker.send(signal.SIGTERM)
    wait_for(lambda: status(port, "/ready") == 503, what=lambda: worker.output)

    wait_for(lambda: status(port, "/live") == 200)
    gate.open()
    assert worker.wait() == 0
    assert status(port, "/live") == 0


def test_a_worker_that_dies_leaves_the_port_to_the_next_one_though_its_task_goes_on(
    start_worker: Start, tmp_path: Path, port: int
) -> None:
    first = start_worker("--health-port", str(port), "--grace", "600")
    wait_for(lambda: status(port, "/ready") == 200, what=lambda: first.output)
    gate = Gate(tmp_path / "gate")
    tasks.wait_at.enqueue(str(gate))
    wait_for(gate.is_reached)
    children = first.children()

    os.kill(first.process.pid, signal.SIGKILL)
    first.wait()
    second = start_worker("--health-port", str(port))
    wait_for(lambda: status(port, "/ready") == 200, what=lambda: second.output)

    assert not all(map(is_gone, children))


def test_processes_are_still_forked_and_replaced_beside_the_thread_that_answers(
    start_worker: Start, tmp_path: Path, port: int
) -> None:
    """A process with two threads would have been spawned, and would hold twice the memory."""
    file = tmp_path / "heartbeat"
    worker = start_worker("-p", "2", "--health-port", str(port), "--heartbeat-file", str(file))
    wait_for(lambda: status(port, "/ready") == 200, what=lambda: worker.output)

    for _ in range(3):
        before = worker.children()
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda before=before: len(set(worker.children()) - {before[0]}) == 2, what=lambda: worker.output)
        wait_for(lambda: status(port, "/live") == 200)

    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in worker.children()]
    assert all(b"taskq_worker" in command for command in commands)
    assert tasks.add.enqueue(1).get(timeout=60) == 3


def test_a_supervisor_that_is_stuck_is_not_live(
    start_worker: Start, tmp_path: Path, port: int, hasty: dict[str, str]
) -> None:
    file = tmp_path / "heartbeat"
    worker = start_worker("--health-port", str(port), "--heartbeat-file", str(file), env=hasty)
    wait_for(lambda: status(port, "/ready") == 200, what=lambda: worker.output)
    wait_for(lambda: probed(file, 20) == 0)

    worker.send(signal.SIGSTOP)
    wait_for(lambda: probed(file, 0.5) == 1)
    with socket.create_connection(("127.0.0.1", port), timeout=1) as asking:
        asking.sendall(b"GET /live HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError):
            asking.recv(1)
    worker.send(signal.SIGCONT)
    wait_for(lambda: status(port, "/ready") == 200 and probed(file, 20) == 0, what=lambda: worker.output)

    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert not file.exists()


def probed(file: Path, seconds: float) -> int:
    command = [sys.executable, "-m", "taskq_django.worker.heartbeat", str(file), "--max-age", str(seconds)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file is not away")
@pytest.mark.parametrize("is_mute", [False, True], ids=["refuses", "mute"])
def test_without_its_database_a_worker_lives_and_is_not_ready(
    start_worker: Start, port: int, proxy: FaultProxy, settings_with: Callable[..., dict[str, str]], is_mute: bool
) -> None:
    known = ("ENGINE", "USER", "PASSWORD", "OPTIONS")
    there = {"HOST": "127.0.0.1", "PORT": proxy.port, "NAME": connection.settings_dict["NAME"]}
    databases = {
        alias: {**{key: entry[key] for key in known if key in entry}, **there}
        for alias, entry in settings.DATABASES.items()
    }
    env = settings_with(DATABASES=databases, TASKQ={"WORKER": {"HEARTBEAT": 0.5, "LEASE": 18.0, "MAINTENANCE": 0.2}})
    worker = start_worker("--health-port", str(port), env=env)
    wait_for(lambda: status(port, "/ready") == 200, what=lambda: worker.output)

    proxy.swallow() if is_mute else proxy.take_down()
    wait_for(lambda: status(port, "/ready") == 503, what=lambda: worker.output)
    until = monotonic() + 5
    wait_for(lambda: monotonic() > until or status(port, "/live") == 503)
    wait_for(lambda: status(port, "/live") != 0)  # which says nothing of a machine that is slow
    assert status(port, "/live") == 200
    proxy.bring_up()
    wait_for(lambda: status(port, "/ready") == 200, what=lambda: worker.output)


def test_without_its_redis_a_worker_lives_and_is_not_ready(
    start_worker: Start, port: int, redis_server: Redis, on_redis: dict[str, str]
) -> None:
    worker = start_worker("--health-port", str(port), env=on_redis)
    wait_for(lambda: status(port, "/ready") == 200, what=lambda: worker.output)

    redis_server.kill()
    wait_for(lambda: status(port, "/ready") == 503, what=lambda: worker.output)
    wait_for(lambda: status(port, "/live") == 200)
    redis_server.start()
    wait_for(lambda: status(port, "/ready") == 200, what=lambda: worker.output)


def test_a_beat_is_asked_alike(start_beat: Callable[..., RealBeat], tmp_path: Path, port: int) -> None:
    file = tmp_path / "heartbeat"
    beat = start_beat("--health-port", f"127.0.0.1:{port}", "--heartbeat-file", str(file))
    wait_for(lambda: status(port, "/ready") == 200, what=lambda: beat.output)
    wait_for(lambda: heartbeat.age(str(file)) < 20)

    beat.send(signal.SIGTERM)
    assert beat.wait() == 0
    assert not file.exists()
    assert status(port, "/live") == 0
