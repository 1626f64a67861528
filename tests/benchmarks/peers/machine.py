"""CPU and memory of process trees, and of the machine, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
            except OSError:  # it is gone
                continue
    found, left = [], [root]
    while left:
        pid = left.pop()
        found.append(pid)
        left += children.get(pid, [])
    return found


def cpu(pids: Iterable[int], *, reaped: bool = True) -> float:
    """User and system seconds of these processes so far, and of their children that are gone."""
    total = 0
    for pid in pids:
        try:
            total += sum(map(int, _stat(pid)[11 : 15 if reaped else 13]))
        except OSError:
            continue
    return total / TICK


def pss(roots: Iterable[int]) -> float:
    """MiB of these process trees, shared pages divided among those who share them."""
    total = 0
    for root in roots:
        for pid in tree(root):
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


def busy() -> tuple[float, float]:
    """Busy and total CPU seconds of the whole machine."""
    with Path("/proc/stat").open() as file:
        times = [int(field) for field in file.readline().split()[1:9]]
    return (sum(times) - times[3] - times[4]) / TICK, sum(times) / TICK


def wait_until_quiet(limit: float, share: float = 0.15) -> None:
    """Until others use less than ``share`` of the machine; ``limit`` seconds at most."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        used, total = busy()
        time.sleep(0.4)  # the span that is looked at
        used_now, total_now = busy()
        if (used_now - used) / max(total_now - total, 1e-9) < share:
            return
