"""Which tasks keep killing their processes: what a supervisor and all its processes know, in memory that they share.

A process that dies accuses every task that ran in it. The next job of a task that comes to an end, in whatever process,
acquits the task: so those that ran beside the culprit do not stay accused. No locks: a race costs a death more or less.
Imports nothing of ours, because the blackboard brings it to a process in which Django is not set up.
"""

from __future__ import annotations

from collections.abc import Collection, MutableSequence
from multiprocessing.context import BaseContext
from typing import Any
from zlib import crc32

# A task is slowed after so many deaths in a row in which a job of it was running, and none of it ended in between; and
# after one, while processes die before they have ended anything: then it is a flood, perhaps of many tasks.
MANY = 3
TASKS = 32  # as many are known at a time
CLEAN = bytes(TASKS)


class CrashRecord:
    def __init__(self, context: BaseContext) -> None:
        self._keys: MutableSequence[int] = context.RawArray("L", TASKS)
        # How often each was accused since it was acquitted; and whether a job of it is in a ward, or was just now.
        self._deaths: Any = context.RawArray("B", TASKS)
        self._isolated: Any = context.RawArray("B", TASKS)
        self._is_strict: Any = context.RawValue("B", 0)
        self._back_at: Any = context.RawValue("d", 0.0)
        # Of the supervisor: the last death that has accused each, and whether one was accused that was not before.
        self._last: dict[int, str] = {}
        self.has_grown = False

    def accuse(self, task_paths: Collection[str], death: str) -> None:
        """These were running when a process died. Supervisor only; ``death`` names it: each counts once."""
        for key in map(key_of, task_paths):
            if self._last.get(key) != death:
                self._last[key] = death
                line = self._line_of(key)
                if line is None:
                    line = min(range(TASKS), key=self._deaths.__getitem__)
                    self._deaths[line], self._isolated[line], self._keys[line] = 0, 0, key
                self.has_grown |= self._deaths[line] == 0
                self._deaths[line] = min(255, self._deaths[line] + 1)

    def be_strict(self, yes: bool) -> None:
        """Supervisor only: do processes die before they have ended anything?"""
        self._is_strict.value = yes

    def acquit(self, task_path: str) -> None:
        """A job of it has come to an end, and its process lives."""
        if (line := self._line_of(key_of(task_path))) is not None:
            self._deaths[line] = 0

    def isolate(self, key: int, *, yes: bool) -> None:
        """Supervisor only: a job of this task begins in a ward, or the next one may."""
        if (line := self._line_of(key)) is not None:
            self._isolated[line] = yes

    def put_off(self, until: float) -> None:
        """A job has been (monotonic, one clock for the host). Whoever has done it may die before that."""
        self._back_at.value = max(self._back_at.value, until)

    @property
    def back_at(self) -> float:
        """When the last one that was put off will be ready."""
        return float(self._back_at.value)

    @property
    def is_clean(self) -> bool:
        """Is no task accused? Asked for each group of jobs."""
        return bytes(self._deaths) == CLEAN

    def keeps_killing(self, key: int) -> bool:
        line = self._line_of(key)
        return line is not None and self._deaths[line] >= (1 if self._is_strict.value else MANY)

    def is_isolated(self, key: int) -> bool:
        line = self._line_of(key)
        return line is not None and bool(self._isolated[line])

    def _line_of(self, key: int) -> int | None:
        return next((line for line in range(TASKS) if self._keys[line] == key), None)


def key_of(task_path: str) -> int:
    """Not 0, which is no task's."""
    return crc32(task_path.encode()) or 1
