"""What one ``taskq_worker`` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from ..conf import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions(Worker):
    """The settings in force, and what only the command knows. Frozen: it crosses into the processes."""

    name: str
    backends: tuple[str, ...]
    beat: bool = False
    burst: bool = False
    max_tasks: int | None = None
    log_format: str = "text"
    verbosity: int = 1
