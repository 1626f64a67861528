"""Tasks that start other programs and processes, and stop them as one does from a shell."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from taskq_django import task

PATIENCE = 40.0  # seconds; what is started would go on for longer


def state() -> dict[str, list[int]]:
    """The signals that a program begins with: blocked, ignored; as the system says."""
    text = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    masks = {
        key: int(value, 16) for key, _, value in (line.partition(":") for line in text.splitlines()) if key in KEYS
    }
    return {KEYS[key]: [n for n in range(1, 32) if mask >> (n - 1) & 1] for key, mask in masks.items()}


KEYS = {"SigBlk": "blocked", "SigIgn": "ignored"}


@task
def begins_with() -> dict[str, list[int]]:
    return state()


@task
async def abegins_with() -> dict[str, list[int]]:
    return await asyncio.to_thread(state)


@task
def stop_a_program(number: int) -> int:
    """Its return code."""
    program = subprocess.Popen(["sleep", "60"])
    try:
        program.send_signal(number)
        return program.wait(PATIENCE)
    finally:
        program.kill()


@task
async def astop_a_program(number: int) -> int | None:
    program = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        program.send_signal(number)
        return await asyncio.wait_for(program.wait(), PATIENCE)
    finally:
        if program.returncode is None:
            program.kill()


@task
def limit_a_program() -> int:
    return subprocess.run(["timeout", "1", "sleep", "60"], timeout=PATIENCE).returncode


@task
def stop_a_process(method: str, number: int) -> int | None:
    """The same for a process of multiprocessing."""
    process = _context(method).Process(target=time.sleep, args=[60])  # type: ignore[attr-defined]
    process.start()
    os.kill(process.pid, number)
    process.join(PATIENCE)
    code: int | None = process.exitcode
    process.kill()
    return code


@task
def use_a_pool(method: str) -> tuple[list[int], int]:
    """What it computes, and how many of its processes are left."""
    with _context(method).Pool(3) as pool:
        found = pool.map(abs, range(-5, 0))
        members = list(pool._pool)  # type: ignore[attr-defined]
    pool.join()
    # Not is_alive(): while another thread reaps a process, CPython says of it that it lives.
    return found, sum(Path(f"/proc/{member.pid}").exists() for member in members)


@task
def stop_a_fork(number: int) -> int:
    """Which signal has ended the copy; 0: it ended by itself."""
    pid = os.fork()
    if pid == 0:
        time.sleep(PATIENCE)  # what it does until it is stopped
        os._exit(0)
    os.kill(pid, number)
    return os.WTERMSIG(os.waitpid(pid, 0)[1])


@task
def stop_a_fork_from_a_thread(number: int) -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(stop_a_fork.func(number)))
    thread.start()
    thread.join()
    return found[0]


def _context(method: str) -> BaseContext:
    return multiprocessing.get_context(method)


def receiver(headers: dict[str, Any], **kwargs: Any) -> None:
    """Of ``before_enqueue``, in a beat: what a program begins with there, as a header of the job."""
    headers["begins_with"] = repr(state())


STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1]


@task(timeout=0.5)
def wait_for_a_program_that_is_too_slow(pids: str) -> None:
    wait_for_a_program.func(pids)


@task
def wait_for_a_program(pids: str) -> None:
    """Writes down whom it has started: a shell, and what that has started."""
    subprocess.run(["sh", "-c", f"echo $$ > {pids}.tmp; sleep 60 & echo $! >> {pids}.tmp; mv {pids}.tmp {pids}; wait"])
