"""Fills the tables with as many rows as a large project has, by few statements."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction

from taskq_django.models import JobAttempt, JobCounts, JobResult, QueuedJob, Schedule, WorkerProcess
from taskq_django.models.schedule import ScheduleRun
from taskq_django.store.counts import BUCKETS, HOUR, MINUTE, Kind, Tally, _text

DAY = 86_400
TASK, RARE = "tests.app.tasks.add", "tests.app.tasks.explode"
QUEUES = ("default", "mail", "video")
KINDS = 40  # that each process tells apart
PROCESSES = 16

# n counts from 1.
NUMBERS = {
    "postgresql": "SELECT generate_series(1, {0}) AS n",
    "mysql": "SELECT seq AS n FROM seq_1_to_{0}",
    "sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {0}) SELECT n FROM c",
}
# Of milliseconds and a number: an id of version 7, and a moment.
IDS = {
    "postgresql": "(lpad(to_hex({ms}), 12, '0') || '70008000' || lpad(to_hex({n}), 12, '0'))::uuid",
    "mysql": "CAST(CONCAT(LPAD(HEX({ms}), 12, '0'), '70008000', LPAD(HEX({n}), 12, '0')) AS UUID)",
    "sqlite": "printf('%012x', {ms}) || '70008000' || printf('%012x', {n})",
}
MOMENTS = {
    "postgresql": "to_timestamp({ms} / 1000.0)",
    "mysql": "TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ({ms}) * 1000 MICROSECOND",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', {ms} / 1000.0, 'unixepoch')",
}
# Three of a hundred have failed; one of a thousand is of the rare task, and those have failed, too.
RESULTS = """
INSERT INTO {result} (id, task_path, backend, queue_name, status, priority, enqueued_at, started_at, last_attempted_at,
                      finished_at, payload, headers, tries, attempts, crashes, worker_id, return_value,
                      exception_class, message)
SELECT {id}, {task}, 'default', {queue}, CASE WHEN {failed} THEN 'FAILED' WHEN n % 100 = 7 THEN 'CANCELLED'
       WHEN n % 1000 = 8 THEN 'EXPIRED' ELSE 'SUCCESSFUL' END, 0, {at}, {at}, {at}, {at}, '[[1],{{"order":42}}]', '',
       1, 1, 0, 'host:1:1/1', '3', CASE WHEN {failed} THEN {error} ELSE '' END,
       CASE WHEN {failed} THEN 'It has failed.' ELSE '' END
FROM ({numbers}) AS numbers"""
ATTEMPTS = """
INSERT INTO {attempt} (job_id, number, worker_id, started_at, finished_at, exception_class, message, traceback)
SELECT {id}, 1, 'host:1:1/1', {at}, {at}, {error}, 'It has failed.', 'Traceback'
FROM ({numbers}) AS numbers WHERE {failed}"""
# Of ten one is scheduled, one of a thousand runs.
QUEUED = """
INSERT INTO {job} (id, task_path, backend, queue_name, status, {rank}, available_at, enqueued_at, payload, headers,
                   tries, attempts, crashes, worker_id, claimed_at)
SELECT {id}, {task}, 'default', {queue},
       CASE WHEN n % 10 = 0 THEN 'SCHEDULED' WHEN n % 1000 = 1 THEN 'RUNNING' ELSE 'READY' END, 0, {at}, {at},
       '[[1],{{}}]', '', 0, 0, 0, CASE WHEN n % 1000 = 1 THEN 'host:1:1/1' ELSE NULL END,
       CASE WHEN n % 1000 = 1 THEN {at} ELSE NULL END
FROM ({numbers}) AS numbers"""
RUNS = """
INSERT INTO {run} (schedule_id, slot, job_id, enqueued_at, by_hand)
SELECT schedule.id, {at}, {id}, {at}, {no} FROM {schedule} AS schedule, ({numbers}) AS numbers"""


@dataclass(frozen=True, slots=True)
class Filled:
    """How many rows; results are of ``days``, what waits of ten minutes."""

    results: int = 1_000_000
    queued: int = 100_000
    schedules: int = 5_000
    runs: int = 20  # of each schedule
    days: int = 14


def fill(filled: Filled, now: datetime) -> None:
    """``now``: aware; of the rows none is later."""
    end = int(now.timestamp() * 1000)
    with transaction.atomic(), connection.cursor() as cursor:
        for sql, count, seconds in (
            (RESULTS, filled.results, filled.days * DAY),
            (ATTEMPTS, filled.results, filled.days * DAY),
            (QUEUED, filled.queued, 600),
        ):
            cursor.execute(sql.format(**_parts(count, end, seconds)))
    Schedule.objects.bulk_create(_schedules(filled.schedules, now))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(RUNS.format(**_parts(filled.runs, end, DAY)))
    JobCounts.objects.bulk_create(_counts(now))
    WorkerProcess.objects.bulk_create(_workers(now))
    models = JobResult, JobAttempt, QueuedJob, Schedule, ScheduleRun, JobCounts
    tables = ", ".join(model._meta.db_table for model in models)
    with connection.cursor() as cursor:
        cursor.execute(
            {"sqlite": "ANALYZE", "mysql": f"ANALYZE TABLE {tables}"}.get(connection.vendor, f"ANALYZE {tables}")
        )


def _parts(count: int, end: int, seconds: int) -> dict[str, Any]:
    """What stands in the statements. ``end``: milliseconds."""
    vendor = connection.vendor
    ms = f"({end - seconds * 1000} + n * {seconds * 1000 // count})"
    return {
        "numbers": NUMBERS[vendor].format(count),
        "id": IDS[vendor].format(ms=ms, n="n"),
        "at": MOMENTS[vendor].format(ms=ms),
        "task": f"CASE WHEN n % 1000 = 0 THEN '{RARE}' ELSE '{TASK}' END",
        "queue": "CASE n % 3 WHEN 0 THEN 'default' WHEN 1 THEN 'mail' ELSE 'video' END",
        "failed": "(n % 100 < 3 OR n % 1000 = 0)",
        "error": "CASE n % 2 WHEN 0 THEN 'builtins.KeyError' ELSE 'builtins.ValueError' END",
        "rank": connection.ops.quote_name("rank"),
        "no": "0" if vendor == "sqlite" else "false",
        **{
            name: model._meta.db_table
            for name, model in {
                "result": JobResult, "attempt": JobAttempt, "job": QueuedJob, "run": ScheduleRun, "schedule": Schedule,
            }.items()
        },
    }  # fmt: skip


def _schedules(count: int, now: datetime) -> list[Schedule]:
    return [
        Schedule(
            name=f"schedule {n:05}",
            task_path=RARE if n % 100 == 0 else TASK,
            args=[n],
            kind="interval",
            spec="3600",
            next_run_at=now + timedelta(seconds=60 + n),
            enabled=n % 10 != 0,
            broken="It cannot be read." if n % 500 == 1 else "",
        )
        for n in range(count)
    ]


def _counts(now: datetime) -> list[JobCounts]:
    """What is kept: two hours of minutes, and eight days of hours, each folded but the last ones."""
    tally = Tally(ends=[900, 30, 20, 10], waits=[30] * BUCKETS, runs=[30] * BUCKETS)
    kinds = {Kind("default", QUEUES[n % 3], TASK if n == 0 else f"{TASK}_{n}"): tally for n in range(KINDS)}
    text, rows = _text(kinds), []
    for seconds, count in ((MINUTE, 120), (HOUR, 192)):
        last = now.timestamp() // seconds * seconds
        for back in range(count):
            begin = datetime.fromtimestamp(last - back * seconds, UTC)
            each = range(PROCESSES if back < 4 else 1)
            rows += [JobCounts(worker_id=f"host:1:1/{n}", seconds=seconds, begins_at=begin, counts=text) for n in each]
    return rows


def _workers(now: datetime) -> list[WorkerProcess]:
    given = {"host": "host", "pid": 1, "started_at": now, "seen_at": now, "serving": 2}
    owners = [WorkerProcess(id=f"host:{n}:1", name=f"host-{n}", **given) for n in range(1, 21)]
    return owners + [
        WorkerProcess(id=f"{owner.id}/{n}", supervisor_id=owner.id, name=owner.name, **given)
        for owner in owners
        for n in (1, 2)
    ]
