"""Where a loop's claims begin in the index of PostgreSQL: past what it has claimed before.

A row that was claimed leaves an entry in that index until a vacuum comes, which looks once a minute. Within a backlog
of a million a claim would walk over all of those before it finds a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

# What comes back to its old place, or was committed late, is before the start: after so long a claim begins at the very
# first again.
FORGET = 0.25  # seconds
LOWEST, BEYOND = -(1 << 15), 1 << 15  # of ranks, which are smallint
# A moment that went through a float, and back, may be later than it was.
CARE = 0.001  # seconds

Parts = tuple[list[str], list[int], list[float], list[int]]


@dataclass(slots=True)
class Start:
    rank: int
    at: float  # POSIX seconds, by the database's clock
    until: float  # monotonic


class Starts:
    """Of one connection."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Start] = {}
        self.planned_at = -math.inf  # monotonic; when its statements were planned anew

    def parts(self, backend: str, names: Sequence[str]) -> Iterator[Parts]:
        """Of each queue the parts of the order that are looked at: what has a lower rank than the start, and the rest.

        A second time from the very first: for who has found too few.
        """
        now = monotonic()
        known = {name: start for name in names if (start := self._known.get((backend, name))) and now < start.until}
        if known:
            parts: list[tuple[str, int, float, int]] = []
            for name in names:
                if start := known.get(name):
                    parts += [(name, LOWEST, -math.inf, start.rank), (name, start.rank, start.at, BEYOND)]
                else:
                    parts.append((name, LOWEST, -math.inf, BEYOND))
            yield tuple(map(list, zip(*parts, strict=True)))  # type: ignore[misc]
            for name in known:
                del self._known[backend, name]
        yield list(names), [LOWEST] * len(names), [-math.inf] * len(names), [BEYOND] * len(names)

    def note(self, backend: str, rows: Sequence[Any]) -> None:
        """What a claim that was full has found."""
        name = rows[-1][0]
        rank, at = min((row[4], row[13]) for row in rows if row[0] == name)
        before = self._known.get((backend, name))
        now = monotonic()
        until = before.until if before and now < before.until else now + FORGET
        self._known[backend, name] = Start(rank, at - CARE, until)
