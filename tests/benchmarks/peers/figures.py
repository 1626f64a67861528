"""What was measured, and how it is written."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

NAMES = {
    "pg": "PostgreSQL",
    "sqlite": "SQLite",
    "sqlite_stock": "SQLite, stock options",
    "mariadb": "MariaDB",
    "redis": "Redis",
    "redis_pg": "Redis, results in PostgreSQL",
    "redis_sqlite": "Redis, results in SQLite",
}
SCENES = {
    "history": "1,000,000 finished jobs",
    "future": "300,000 jobs for tomorrow",
    "paused": "500,000 jobs in a paused queue",
    "snapshot": "an old snapshot held open",
}
SETTLED = "settled_rate"
PARTS = {"last": "the last 4 s", "again": "2 s of workers that begin there"}  # beside the first 2 s of a long drain
Row = Sequence[str]


class Figures:
    def __init__(self, results: dict[str, Any]) -> None:
        self._systems: dict[str, Any] = results["systems"]

    def specs(self, variant: str = "") -> list[str]:
        order = sorted(self._systems, key=lambda spec: (list(NAMES).index(spec.partition(":")[2]), "taskq" not in spec))
        return [spec for spec in order if not variant or spec.endswith(f":{variant}")]

    def info(self, spec: str) -> dict[str, Any]:
        info: dict[str, Any] = self._systems[spec]["info"]
        return info

    def all(self, spec: str, step: str, figure: str) -> list[float]:
        runs = self._systems.get(spec, {"steps": {}})["steps"].get(step, [])
        # 0: was not settled in time, or has no such server
        return [run[figure] for run in runs if run.get(figure) or figure == "idle_cpu"]

    def of(self, spec: str, step: str, figure: str) -> float | None:
        found = self.all(spec, step, figure)
        return statistics.median(found) if found else None

    def costs(self, spec: str, step: str) -> list[float]:
        """µs of CPU a job."""
        return [self.of(spec, step, who) or 0.0 for who in ("worker_us", "server_us", "engine_us")]


def number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
