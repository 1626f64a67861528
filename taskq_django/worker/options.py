"""What one ``taskq_worker`` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from ..conf import Worker
from .probes import Address


@dataclass(frozen=True, slots=True)
class QueueChoice:
    """Which queues a worker serves: the named ones (none named: all) without the excluded ones."""

    only: frozenset[str]
    without: frozenset[str]

    def serves(self, queue_name: str) -> bool:
        return (not self.only or queue_name in self.only) and queue_name not in self.without


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
    health_port: Address | None = None
    heartbeat_file: str | None = None

    @property
    def choice(self) -> QueueChoice:
        return QueueChoice(frozenset(self.queues), frozenset(self.exclude_queues))
