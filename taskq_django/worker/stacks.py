"""What every thread of this process is doing: the answer to USR1."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Mapping


def dump(running: Mapping[int, str]) -> str:
    """The stacks of all threads, innermost frame last; ``running``: by thread, the jobs that it runs."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [f"Stacks of process {os.getpid()}"]
    for ident, frame in sys._current_frames().items():
        job = f"  {running[ident]}" if ident in running else ""
        parts.append(f"--- {names.get(ident, ident)}{job}\n{''.join(traceback.format_stack(frame)).rstrip()}")
    return "\n".join(parts) + "\n"


def write(running: Mapping[int, str]) -> None:
    """To stderr, past every buffer and lock: a signal handler calls this, wherever the thread may be."""
    text = dump(running).encode(errors="backslashreplace")
    while text:
        text = text[os.write(2, text) :]
