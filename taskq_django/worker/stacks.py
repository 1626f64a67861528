"""What every thread and every coroutine of this process is doing: the answer to USR1."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType

from ..jobs import Claim
from .seats import CoroutineSeat, Seat


def dump(running: Mapping[int, str], coroutines: Iterable[tuple[str, asyncio.Task[None]]] = ()) -> str:
    """The stacks of all threads, innermost frame last; ``running``: by thread, the jobs that it runs.

    ``coroutines``: jobs with their asyncio tasks. The thread of an event loop shows only the one that runs right now.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [f"Stacks of process {os.getpid()}"]
    for ident, frame in sys._current_frames().items():
        job = f"  {running[ident]}" if ident in running else ""
        parts.append(f"--- {names.get(ident, ident)}{job}\n{''.join(traceback.format_stack(frame)).rstrip()}")
    for job, task in coroutines:
        frames = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in _awaiting(task))
        parts.append(f"--- coroutine  {job}\n{''.join(frames.format()).rstrip()}")
    return "\n".join(parts) + "\n"


def write(running: Iterable[tuple[Seat, Claim]]) -> None:
    """To stderr, past every buffer and lock: a signal handler calls this, wherever the thread may be."""
    jobs: dict[int, str] = {}
    coroutines = []
    for seat, claim in running:
        job = f"{claim.job.task_path}[{claim.job.id}]"
        jobs[seat.ident] = f"{jobs[seat.ident]}, {job}" if seat.ident in jobs else job
        if isinstance(seat, CoroutineSeat) and seat.running is not None:
            coroutines.append((job, seat.running))
    text = dump(jobs, coroutines).encode(errors="backslashreplace")
    while text:
        text = text[os.write(2, text) :]


def _awaiting(task: asyncio.Task[None]) -> Iterator[FrameType]:
    """The frames from the task's own to the innermost; ``Task.get_stack`` has only the first of a suspended one."""
    awaited: object = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:  # a future, an async generator, or it has ended meanwhile: nothing to follow further
            return
        yield frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
