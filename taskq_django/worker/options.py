"""What one ``taskq_worker`` was asked to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Frozen: it crosses into the processes."""

    name: str
    backends: tuple[str, ...]
    queues: frozenset[str] = frozenset()
    exclude_queues: frozenset[str] = frozenset()
    processes: int = 1
    threads: int = 4
    coroutines: int = 100
    beat: bool = False
    burst: bool = False
    max_tasks: int | None = None
    grace: float = 25.0
    batch: int = 100
    heartbeat: float = 10.0
    lease: float = 30.0
    maintenance: float = 5.0
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    connect_timeout: float = 60.0
    log_format: str = "text"
    verbosity: int = 1
