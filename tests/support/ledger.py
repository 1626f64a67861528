"""What really ran, written by the tasks themselves outside of the system under test, and judged by the test."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path


def write(path: str, job_id: str, attempt: int, event: str) -> None:
    """One line by one write() to a file opened for appending; begun anew, because who is killed may leave a part."""
    line = f"\n{job_id} {attempt} {os.getpid()} {event} {time.monotonic():.6f}"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@dataclass(slots=True)
class Run:
    attempt: int
    pid: int
    started: float  # monotonic seconds, one clock for the host
    ended: float | None = None


@dataclass(slots=True)
class Story:
    """The runs of one job, in the order of their starts."""

    runs: list[Run] = field(default_factory=list)

    @property
    def ends(self) -> int:
        return sum(run.ended is not None for run in self.runs)


class Ledger:
    def __init__(self, path: Path) -> None:
        self.path = path

    def stories(self) -> dict[str, Story]:
        found: dict[str, Story] = defaultdict(Story)
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            words = line.split()
            if len(words) < 5:  # a part: a write that crosses a page is seen, or cut off by a kill, between the two
                continue
            job_id, attempt, pid, event, at = words
            runs = found[job_id].runs
            if event == "start":
                runs.append(Run(int(attempt), int(pid), float(at)))
            else:
                next(run for run in runs if (run.attempt, run.pid) == (int(attempt), int(pid))).ended = float(at)
        return dict(found)

    def started(self) -> int:
        return sum(len(story.runs) for story in self.stories().values())

    def running(self) -> set[str]:
        """The jobs that have begun and not ended."""
        return {job_id for job_id, story in self.stories().items() if any(run.ended is None for run in story.runs)}

    def lost(self, ids: set[str]) -> set[str]:
        """Those of the jobs that no run has ended."""
        stories = self.stories()
        return {job_id for job_id in ids if job_id not in stories or not stories[job_id].ends}

    def duplicated(self) -> int:
        """Runs that ended beyond the first of their job."""
        return sum(max(0, story.ends - 1) for story in self.stories().values())

    def overlapped(self) -> int:
        """Runs that began while another run of the same job went on."""
        return sum(
            any(other.started < run.started < (other.ended or float("-inf")) for other in story.runs)
            for story in self.stories().values()
            for run in story.runs
        )

    def recovery(self, since: float, ids: set[str] | None = None) -> list[float]:
        """For each job that was running at that moment and did not end: seconds until it was started again.

        ``ids``: of these jobs only.
        """
        waits = []
        for job_id, story in self.stories().items():
            if ids is not None and job_id not in ids:
                continue
            for before, after in zip(story.runs, story.runs[1:], strict=False):
                if before.started <= since <= after.started:
                    waits.append(after.started - since)
        return waits
