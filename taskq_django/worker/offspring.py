"""The programs that tasks have started, which would outlive a process that ends before their runs do."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def offspring_of(pid: int) -> list[int]:
    """The children of this process, and theirs; as far as the system tells (Linux)."""
    children: dict[int, list[int]] = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            parent = each.read_bytes().rpartition(b")")[2].split()[1]  # its name, before that, may be anything
            children.setdefault(int(parent), []).append(int(each.parent.name))
    found = [pid]
    for each_pid in found:
        found += children.get(each_pid, ())
    return found[1:]


def end_all(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
