"""What must be reached, and whether it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .figures import NAMES, SCENES, SETTLED, Figures, Row, number

DJANGO_QUEUES = ("django_tasks_db", "django_ox", "dj_queue", "django_q2", "procrastinate")


@dataclass(frozen=True)
class Limits:
    rival: str
    drain: tuple[float | None, float | None]  # of the rival's, with one process and with two
    raw: float  # of the raw driver's enqueue
    p50: float  # ms
    p99: float
    floor: float  # of the bare loops' rate


LIMITS = {
    "pg": Limits("pgqueuer:pg", drain=(1.5, 2.2), raw=0.9, p50=2.1, p99=4.5, floor=1.0),
    "sqlite": Limits("huey:sqlite", drain=(2.1, None), raw=0.7, p50=1.7, p99=4.0, floor=0.6),
}


def goals_of(figures: Figures, variant: str) -> Iterable[Row]:
    ours, name, limits = f"taskq_django:{variant}", NAMES[variant], LIMITS[variant]
    of, is_pg = figures.of, variant == "pg"
    for processes, goal in zip((1, 2), limits.drain, strict=True):
        step = f"drain-p{processes}"
        label = f"{name}: drain, {processes} process{'es' if processes > 1 else ''} each, jobs/s"
        yield beside(label, of, (ours, step), limits.rival, goal)
        queues = [f"{system}:{variant}" for system in DJANGO_QUEUES if of(f"{system}:{variant}", step, SETTLED)]
        if queues:
            best = max(queues, key=lambda spec: of(spec, step, SETTLED) or 0)
            yield beside(f"{label}, best Django queue", of, (ours, step), best, 25)
    label = f"{name}: the last 4 s of 20 s within a long backlog, jobs/s"
    last, goal = of(ours, "long", "last_rate"), limits.drain[1 if is_pg else 0]
    first = of(ours, "long", "first_rate")
    yield from share(label, last, "its first 2 s", first, 0.9)
    again = of(ours, "long", "again_rate")
    yield from share(f"{name}: 2 s of workers that begin there, jobs/s", again, "the first 2 s", first, 0.9)
    yield beside(label, of, (ours, "long"), limits.rival, goal, "last_rate")
    one, many = (of(ours, f"queues-{key}", SETTLED) for key in ("one", "many"))
    yield from share(f"{name}: drain of 1,000 queues, jobs/s", many, "one queue", one, 0.9)
    label = f"{name}: 8 producers one by one while workers drain"
    yield beside(f"{label}, a second", of, (ours, "producers"), limits.rival, 2 if is_pg else None, "rate")
    if is_pg:
        yield plain(f"{label}, µs of server CPU", of(ours, "producers", "server_us"), 250, most=True)
    one, raw = of(ours, "enqueue-one", "rate"), of(ours, "enqueue-raw", "rate")
    yield from share(f"{name}: enqueue one by one", one, "raw driver", raw, limits.raw)
    yield plain(f"{name}: enqueue in bulk, a second", of(ours, "bulk", "rate"), 60_000)
    for quantile, limit in (("p50", limits.p50), ("p99", limits.p99)):
        yield plain(f"{name}: enqueue to start, {quantile}, ms", of(ours, "latency", quantile), limit, most=True)
    if is_pg:
        label = f"{name}: ms of server CPU a job at 40 a second"
        yield plain(label, of(ours, "latency", "server_ms"), 2.2, most=True)
    for kind, least in (("threads", 1930), ("coroutines", 1900)):
        yield plain(f"{name}: sleeping tasks, {kind}, a second", of(ours, f"naps-{kind}", "rate"), least)
    label, bare = f"{name}: a task that reads and writes, jobs/s", of(ours, "orm-floor", "rate")
    yield from share(label, of(ours, "orm", SETTLED), "bare loops", bare, limits.floor)
    yield plain(f"{name}: idle memory, MiB PSS", of(ours, "latency", "pss_mib"), 60, most=True)
    idle = of(ours, "latency", "idle_cpu")
    yield plain(f"{name}: idle CPU, % of a core", None if idle is None else idle * 100, 1, most=True)
    who = "server" if is_pg else "worker"
    for scene, text in SCENES.items():
        empty, full = (of(ours, f"scenes-{scene}-{state}", f"{who}_us") for state in ("empty", "full"))
        label, least = f"{name}: {text}, µs of {who} CPU", 0.7 if scene == "snapshot" else 0.95
        yield from share(label, full, "empty", empty, least, cost=True)


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


def beside(label: str, of: Any, key: tuple[str, str], rival: str, least: float | None, figure: str = SETTLED) -> Row:
    ours, theirs = of(*key, figure), of(rival, key[1], figure)
    goal = f"≥ {least} ×" if least else ""
    if not ours or not theirs:
        return row_of(label, ours, "–", None, goal, None)
    reached = ours / theirs >= least if least else None
    return row_of(label, ours, f"{rival.partition(':')[0]} {theirs:,.0f}", ours / theirs, goal, reached)


def share(
    label: str, value: float | None, name: str, other: float | None, least: float, *, cost: bool = False
) -> Iterable[Row]:
    """A rate as a share of the other, or the other cost as a share of it; no row where one was not measured."""
    if value and other:
        ratio = other / value if cost else value / other
        yield row_of(label, value, f"{name} {number(other)}", ratio, f"≥ {least}", ratio >= least)


def plain(label: str, value: float | None, goal: float, *, most: bool = False) -> Row:
    reached = None if value is None else value <= goal if most else value >= goal
    return row_of(label, value, "", None, f"{'≤' if most else '≥'} {goal:,}", reached)


def row_of(label: str, value: float | None, other: str, ratio: float | None, goal: str, reached: bool | None) -> Row:
    ratio_text = "" if ratio is None else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
    return [label, number(value), other, ratio_text, goal, "" if reached is None else "yes" if reached else "**no**"]
