"""The tables that docs/explanation/speed.rst includes, and the same on the terminal."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .figures import NAMES, PARTS, SCENES, SETTLED, Figures, Row, number
from .goals import goals_of, redis_goals

TABLES = Path(__file__).parents[3] / "docs/explanation/speed_tables.inc"


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
            [
                "",
                "p50 ms",
                "p99 ms",
                "CPU ms a job of the database",
                "PSS MiB",
                "idle CPU",
                "threads /s",
                "coroutines /s",
            ],
            leisure(figures),
        ),
        table(
            "With much else in the database, 1 process",
            ["", "jobs/s empty", "so", "ratio", "µs of CPU empty", "so", "ratio"],
            scenes(figures),
        ),
        table(
            "Within a long backlog: its first 2 s, and what is said",
            ["", "jobs/s first", "then", "ratio", "µs of CPU first", "then", "ratio"],
            long_drains(figures),
        ),
        table(
            "The same jobs in one queue and in 1,000",
            ["", "jobs/s in one", "in 1,000", "ratio", "µs of CPU in one", "in 1,000", "ratio"],
            many_queues(figures),
        ),
        table(
            "8 producers one by one, while workers drain",
            ["", "enqueued /s", "µs of CPU a job, workers + database, without the producers"],
            producers(figures),
        ),
        table(
            "A task that reads and writes a row by the ORM, 2 processes",
            ["", "jobs/s", "µs of CPU a job, workers + database"],
            orm_tasks(figures),
        ),
        table("Versions and configurations (N: processes)", ["", "versions", "configuration"], versions(figures)),
    ]
    path.write_text("\n".join([".. Written by tests.benchmarks.peers.\n", *filter(None, parts)]))
    width = max(len(row[0]) for row in goals)
    for row in goals:
        print(f"{row[0]:<{width}}  {row[1]:>10}  {row[2]:>28}  {row[3]:>6}  {row[4]:>10}  {row[5]}")


def title(spec: str) -> str:
    system, _, variant = spec.partition(":")
    return f"{system}, {NAMES[variant]}"


def costs_of(figures: Figures, spec: str, step: str) -> str:
    return " + ".join(number(cost) for cost in figures.costs(spec, step) if cost)


def spread(figures: Figures, spec: str, step: str, figure: str) -> str:
    found = figures.all(spec, step, figure)
    if not found:
        return "–"
    return f"{number(statistics.median(found))} ({number(min(found))} to {number(max(found))})"


def drains(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        yield [
            title(spec),
            spread(figures, spec, "drain-p1", "settled_rate"),
            spread(figures, spec, "drain-p2", "settled_rate"),
            costs_of(figures, spec, "drain-p1"),
        ]


def enqueues(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        yield [title(spec), spread(figures, spec, "enqueue-one", "rate"), spread(figures, spec, "bulk", "rate")]
        if spec.startswith("taskq_django"):
            raw = [spread(figures, spec, step, "rate") for step in ("enqueue-raw", "bulk-raw")]
            yield [f"raw driver, {NAMES[spec.partition(':')[2]]}", *raw]


def leisure(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        values = [figures.of(spec, "latency", figure) for figure in ("p50", "p99", "server_ms", "pss_mib")]
        idle = figures.of(spec, "latency", "idle_cpu")
        naps = [figures.of(spec, f"naps-{kind}", "rate") for kind in ("threads", "coroutines")]
        yield [title(spec), *map(number, values), "–" if idle is None else f"{idle:.1%}", *map(number, naps)]


def scenes(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        cost = "server_us" if spec.endswith(":pg") else "worker_us"
        for scene, text in SCENES.items():
            keys = [f"scenes-{scene}-{state}" for state in ("empty", "full")]
            rates, costs = ([figures.of(spec, key, figure) for key in keys] for figure in (SETTLED, cost))
            yield from compared(f"{title(spec)}: {text}", rates, costs)


def long_drains(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        for part, text in PARTS.items():
            rates, costs = (
                [figures.of(spec, "long", f"{each}_{what}") for each in ("first", part)] for what in ("rate", "us")
            )
            yield from compared(f"{title(spec)}: {figures.info(spec).get('waiting', 0):,} jobs, {text}", rates, costs)


def many_queues(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        keys = ("queues-one", "queues-many")
        rates, costs = [figures.of(spec, key, SETTLED) for key in keys], [sum(figures.costs(spec, key)) for key in keys]
        yield from compared(title(spec), rates, costs)


def producers(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        if figures.all(spec, "producers", "rate"):
            yield [title(spec), spread(figures, spec, "producers", "rate"), costs_of(figures, spec, "producers")]


def orm_tasks(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        if figures.all(spec, "orm", SETTLED):
            yield [title(spec), spread(figures, spec, "orm", SETTLED), costs_of(figures, spec, "orm")]
        if figures.all(spec, "orm-floor", "rate"):
            bare = f"a bare loop in each process, {NAMES[spec.partition(':')[2]]}"
            yield [bare, spread(figures, spec, "orm-floor", "rate"), ""]


def compared(label: str, rates: Sequence[float | None], costs: Sequence[float | None]) -> Iterable[Row]:
    """Of the usual case and of the other; no row where one was not measured."""
    (rate, other_rate), (cost, other_cost) = rates, costs
    if rate and other_rate and cost and other_cost:
        ratios = f"{other_rate / rate:.2f}", f"{cost / other_cost:.2f}"
        yield [label, number(rate), number(other_rate), ratios[0], number(cost), number(other_cost), ratios[1]]


def versions(figures: Figures) -> Iterable[Row]:
    for spec in figures.specs():
        info = figures.info(spec)
        found = ", ".join(f"{name} {version}" for name, version in info["versions"].items())
        yield [title(spec), f"{found}; {info['server']}", info["config"]]


def table(caption: str, head: Row, rows: Iterable[Row]) -> str:
    text, found = io.StringIO(), list(rows)
    if not found:
        return ""  # a table of a head alone is refused
    csv.writer(text, lineterminator="\n").writerows([head, *found])
    body = "".join(f"   {line}\n" for line in text.getvalue().splitlines())
    return f".. csv-table:: {caption}\n   :header-rows: 1\n\n{body}"
