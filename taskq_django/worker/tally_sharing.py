"""What the processes of a worker have counted since they began, for one of them to tell: a small file each.

Where SHARED is not in the environment nobody asks, and nothing is written.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from uuid import uuid4

import orjson

from ..exceptions import one_line
from ..store.counts import BUCKETS, Kind, Tallies, Tally, merged

logger = logging.getLogger("taskq_django.worker")

SHARED = "TASKQ_DJANGO_TALLIES"  # a folder that who asks has made, for this worker alone
EVERY = 1.0  # seconds between two writes of a process

Counted = Iterable[tuple[Kind, Tally]]

_folder: str | None = None


def shared_folder() -> str | None:
    """Where this process is to write. What a task starts does not inherit it: a worker of its own counts for itself."""
    global _folder
    _folder = os.environ.pop(SHARED, None) or _folder
    return _folder


def share_no_more() -> None:
    """Nobody asks any more."""
    global _folder
    os.environ.pop(SHARED, None)
    _folder = None


class Sharer:
    """A process's file. Of who counts."""

    def __init__(self, folder: str) -> None:
        # A name of its own: a process may count anew, and a pid may be given again.
        self._path = Path(folder) / f"{os.getpid()}-{uuid4().hex}"
        self._before: Tallies = {}  # what is counted anew no more
        self._write_at = 0.0
        self._is_refused = False  # and that has been said

    def add(self, counted: Counted) -> None:
        """What is about to be counted from nought again."""
        self._before = merged([*self._before.items(), *counted])

    def turn(self, fresh: Counted, *, at_once: bool = False) -> None:
        """Write it when it is time to. ``fresh``: what was counted since ``add``."""
        if monotonic() < self._write_at and not at_once:
            return
        self._write_at = monotonic() + EVERY
        total = merged([*self._before.items(), *fresh])
        rows = [[*kind, each.ends, each.waits, each.runs, each.waited, each.ran] for kind, each in total.items()]
        try:
            draft = self._path.with_suffix(".new")
            draft.write_bytes(orjson.dumps(rows))
            draft.replace(self._path)
        except OSError as error:
            if not self._is_refused:
                logger.warning("What was counted cannot be told to the process that is asked: %s", one_line(error))
            self._is_refused = True


class Gathered:
    """What all have counted, those that have ended too. One thread only."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._of_the_dead: Tallies = {}

    def total(self) -> Tallies:
        """Of a process that was killed: what it had counted a second before."""
        living: list[tuple[Kind, Tally]] = []
        for path in self._folder.iterdir():
            pid = path.name.partition("-")[0]
            if path.suffix or not pid.isdigit():
                continue
            has_ended = not _lives(int(pid))  # before it is read: what it writes last must be in it
            try:
                found = list(_read(path))
            except (OSError, ValueError, TypeError):
                continue
            if has_ended:
                self._of_the_dead = merged([*self._of_the_dead.items(), *found])
                with suppress(OSError):
                    path.unlink()
            else:
                living += found
        return merged([*self._of_the_dead.items(), *living])


def _read(path: Path) -> Iterator[tuple[Kind, Tally]]:
    for backend, queue, task_path, ends, waits, runs, waited, ran in orjson.loads(path.read_bytes()):
        if (len(ends), len(waits), len(runs)) != (4, BUCKETS, BUCKETS):
            raise ValueError("of another release")
        yield Kind(backend, queue, task_path), Tally(ends, waits, runs, waited, ran)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
