"""The tables that docs/explanation/speed.rst includes, and the same on the terminal."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parents[3] / "docs/explanation/speed_tables.inc"
DJANGO_QUEUES = ("django_tasks_db", "django_ox", "dj_queue", "django_q2", "procrastinate")
NAMES = {
    "pg": "PostgreSQL",
    "sqlite": "SQLite",
    "sqlite_stock": "SQLite, stock options",
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
Row = Sequence[str]
SETTLED = "settled_rate"


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


def write(results: dict[str, Any], path: Path) -> None:
    figures, machine = Figures(results), results["machine"]
    goals = [row for variant in ("pg", "sqlite") for row in goals_of(figures, variant)]
    goals += redis_goals(figures) if "taskq_django:redis" in figures.specs() else ()
    parts = [
        f"Measured on {machine['when']}: {machine['cpu']}, Linux {machine['kernel']}, Python {machine['python']}.\n",
        table("Goals", ["", "ours", "beside", "ratio", "goal", "reached"], goals),
        table(
            "Jobs a second, drained (median, least to most)",
            ["", "1 process", "2 processes", "µs of CPU a job, workers + database + Redis"],
            drains(figures),
        ),
        table("Enqueue, a second", ["", "one by one", "in bulk"], enqueues(figures)),
        table(
            "At low load, two processes; and 100 tasks at once that sleep 50 ms",
            ["", "p50 ms", "p99 ms", "PSS MiB", "idle CPU", "threads /s", "coroutines /s"],
            leisure(figures),
        ),
        table(
            "With much else in the database, 1 process",
            ["", "jobs/s empty", "so", "ratio", "µs of CPU empty", "so", "ratio"],
            scenes(figures),
        ),
        table("Versions and configurations (N: processes)", ["", "versions", "configuration"], versions(figures)),
    ]
    path.write_text("\n".join([".. Written by tests.benchmarks.peers.\n", *parts]))
    width = max(len(row[0]) for row in goals)
    for row in goals:
        print(f"{row[0]:<{width}}  {row[1]:>10}  {row[2]:>28}  {row[3]:>6}  {row[4]:>10}  {row[5]}")


def goals_of(figures: Figures, variant: str) -> Iterable[Row]:
    ours, name = f"taskq_django:{variant}", NAMES[variant]
    of = figures.of
    rival, goals = ("pgqueuer:pg", (1.5, None)) if variant == "pg" else ("huey:sqlite", (2.5, 2.5))
    for processes, goal in zip((1, 2), goals, strict=True):
        step = f"drain-p{processes}"
        label = f"{name}: drain, {processes} process{'es' if processes > 1 else ''} each, jobs/s"
        yield beside(label, of, (ours, step), rival, goal)
        queues = [f"{system}:{variant}" for system in DJANGO_QUEUES if of(f"{system}:{variant}", step, SETTLED)]
        if queues:
            best = max(queues, key=lambda spec: of(spec, step, SETTLED) or 0)
            yield beside(f"{label}, best Django queue", of, (ours, step), best, 15)
    one, raw = of(ours, "enqueue-one", "rate"), of(ours, "enqueue-raw", "rate")
    if one and raw:
        least = 0.7 if variant == "pg" else 0.45
        yield row_of(
            f"{name}: enqueue one by one", one, f"raw driver {raw:,.0f}", one / raw, f"≥ {least}", one / raw >= least
        )
    if variant == "pg":
        yield plain(f"{name}: enqueue in bulk, a second", of(ours, "bulk", "rate"), 35_000)
    for quantile, limit in (("p50", 3 if variant == "pg" else 5), ("p99", 8 if variant == "pg" else 12)):
        yield plain(f"{name}: enqueue to start, {quantile}, ms", of(ours, "latency", quantile), limit, most=True)
    for kind, least in (("threads", 1800), ("coroutines", 1900)):
        yield plain(f"{name}: sleeping tasks, {kind}, a second", of(ours, f"naps-{kind}", "rate"), least)
    yield plain(f"{name}: idle memory, MiB PSS", of(ours, "latency", "pss_mib"), 80, most=True)
    idle = of(ours, "latency", "idle_cpu")
    yield plain(f"{name}: idle CPU, % of a core", None if idle is None else idle * 100, 2, most=True)
    cost = "server_us" if variant == "pg" else "worker_us"
    for scene, text in SCENES.items():
        empty, full = (of(ours, f"scenes-{scene}-{state}", cost) for state in ("empty", "full"))
        if empty and full:
            least = 0.5 if scene == "snapshot" else 0.95
            ratio = empty / full
            yield row_of(
                f"{name}: {text}, µs of {'server' if variant == 'pg' else 'worker'} CPU",
                full,
                f"empty {empty:,.1f}",
                ratio,
                f"≥ {least}",
                ratio >= least,
            )


def redis_goals(figures: Figures) -> Iterable[Row]:
    of, ours = figures.of, "taskq_django:redis"
    for rival, least in (("dramatiq", 8), ("django_vtasks", 3.5), ("celery", 25), ("taskiq", None), ("huey", None)):
        label = "Redis: drain without results, 2 processes each, jobs/s"
        yield beside(label, of, (ours, "drain-p2"), f"{rival}:redis", least)
    label = "Redis: drain, results in PostgreSQL, 2 processes each, jobs/s"
    yield beside(label, of, ("taskq_django:redis_pg", "drain-p2"), "celery:redis_pg", 100)
    worker = of(ours, "drain-p1", "worker_us")
    yield plain("Redis: µs of CPU a job of the worker, no results", worker, 13, most=True)
    engine = of(ours, "drain-p1", "engine_us")
    yield plain("Redis: µs of CPU a job of the server in a drain", engine, 3, most=True)
    yield plain("Redis: µs of CPU of the server, a job's whole life", of(ours, "drain-p1", "life_us"), 15, most=True)
    for label, step, least in (("one by one", "enqueue-one", 0.5), ("in bulk", "bulk", None)):
        one, raw = of(ours, step, "rate"), of(ours, {"bulk": "bulk-raw"}.get(step, "enqueue-raw"), "rate")
        if one and raw:
            goal, reached = (f"≥ {least}", one / raw >= least) if least else ("≥ 35,000 a second", one >= 35_000)
            yield row_of(f"Redis: enqueue {label}", one, f"redis-py {raw:,.0f}", one / raw, goal, reached)
    for quantile, limit in (("p50", 2), ("p99", 4)):
        yield plain(f"Redis: enqueue to start, {quantile}, ms", of(ours, "latency", quantile), limit, most=True)
    idle = of(ours, "latency", "idle_cpu")
    yield plain("Redis: idle CPU, % of a core", None if idle is None else idle * 100, 2, most=True)


def beside(label: str, of: Any, key: tuple[str, str], rival: str, least: float | None) -> Row:
    ours, theirs = of(*key, SETTLED), of(rival, key[1], SETTLED)
    goal = f"≥ {least} ×" if least else ""
    if not ours or not theirs:
        return row_of(label, ours, "–", None, goal, None)
    reached = ours / theirs >= least if least else None
    return row_of(label, ours, f"{rival.partition(':')[0]} {theirs:,.0f}", ours / theirs, goal, reached)


def plain(label: str, value: float | None, goal: float, *, most: bool = False) -> Row:
    reached = None if value is None else value <= goal if most else value >= goal
    return row_of(label, value, "", None, f"{'≤' if most else '≥'} {goal:,}", reached)


def row_of(label: str, value: float | None, other: str, ratio: float | None, goal: str, reached: bool | None) -> Row:
    ratio_text = "" if ratio is None else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
    return [label, number(value), other, ratio_text, goal, "" if reached is None else "yes" if reached else "**no**"]


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def title(spec: str) -> str:
    system, _, variant = spec.partition(":")
    return f"{system}, {NAMES[variant]}"


def spread(figures: Figures, spec: str, step: str, figure: str) -> str:
    found = figures.all(spec, step, figure)
    if not found:
        return "–"
    return f"{number(statistics.median(found))} ({number(min(found))} to {number(max(found))})"


def drains(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        costs = [figures.of(spec, "drain-p1", cost) for cost in ("worker_us", "server_us", "engine_us")]
        yield [
            title(spec),
            spread(figures, spec, "drain-p1", "settled_rate"),
            spread(figures, spec, "drain-p2", "settled_rate"),
            " + ".join(number(cost) for cost in costs if cost),
        ]


def enqueues(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        yield [title(spec), spread(figures, spec, "enqueue-one", "rate"), spread(figures, spec, "bulk", "rate")]
        if spec.startswith("taskq_django"):
            raw = [spread(figures, spec, step, "rate") for step in ("enqueue-raw", "bulk-raw")]
            yield [f"raw driver, {NAMES[spec.partition(':')[2]]}", *raw]


def leisure(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        values = [figures.of(spec, "latency", figure) for figure in ("p50", "p99", "pss_mib")]
        idle = figures.of(spec, "latency", "idle_cpu")
        naps = [figures.of(spec, f"naps-{kind}", "rate") for kind in ("threads", "coroutines")]
        yield [title(spec), *map(number, values), "–" if idle is None else f"{idle:.1%}", *map(number, naps)]


def scenes(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        cost = "server_us" if spec.endswith(":pg") else "worker_us"
        for scene, text in SCENES.items():
            pairs = [
                [figures.of(spec, f"scenes-{scene}-{state}", figure) for state in ("empty", "full")]
                for figure in ("settled_rate", cost)
            ]
            (slow, fast), (few, many) = pairs
            if slow and fast and few and many:
                costs = [number(few), number(many), f"{few / many:.2f}"]
                yield [f"{title(spec)}: {text}", number(slow), number(fast), f"{fast / slow:.2f}", *costs]


def versions(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        info = figures.info(spec)
        found = ", ".join(f"{name} {version}" for name, version in info["versions"].items())
        yield [title(spec), f"{found}; {info['server']}", info["config"]]


def table(caption: str, head: Row, rows: Iterable[Row]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    body = "".join(f"   {line}\n" for line in text.getvalue().splitlines())
    return f".. csv-table:: {caption}\n   :header-rows: 1\n\n{body}"
