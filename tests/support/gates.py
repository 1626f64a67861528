"""A run that takes as long as the test wants, on a machine of any speed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

PAUSE = 0.01  # seconds between two looks; the file decides


class Gate:
    """A file that a run waits for. The run tells by another file that it has begun."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._reached = self.path.with_name(f"{self.path.name}.reached")

    def __str__(self) -> str:
        return str(self.path)

    def is_reached(self) -> bool:
        """Whether a run waits there, or has. A job that is only claimed would be given back by a stop."""
        return self._reached.exists()

    def open(self) -> None:
        self.path.touch()

    def wait(self) -> None:
        """In the run."""
        self._reached.touch()
        while not self.path.exists():
            time.sleep(PAUSE)

    async def await_(self) -> None:
        """In that of a coroutine."""
        self._reached.touch()
        while not self.path.exists():
            await asyncio.sleep(PAUSE)
