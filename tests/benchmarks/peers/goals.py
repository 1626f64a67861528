"""What must be reached, and whether it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .figures import NAMES, SCENES, SETTLED, Figures, Row, number

DJANGO_QUEUES = ("django_tasks_db", "django_ox", "dj_queue", "django_q2", "procrastinate")


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
