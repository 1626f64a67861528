"""One step of a comparison, in a process of its own: ``python -m tests.benchmarks.compare.step NAME [COUNT]``.

``taskq_django`` is that of the working directory. It is asked for what every version has, and for nothing else.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection

TABLES = "taskq_django_queuedjob, taskq_django_jobresult"


def prepare() -> None:
    """A new database with this version's tables, in place of the one there is."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        for file in Path(name).parent.glob(f"{Path(name).name}*"):
            file.unlink()
    else:
        quoted = connection.ops.quote_name(name)
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {quoted}")
            cursor.execute(f"CREATE DATABASE {quoted}")
    call_command("migrate", verbosity=0)
    if url := broker_url():
        import redis

        redis.Redis.from_url(url).flushall()


def enqueue_each(count: int) -> None:
    from .tasks import mark_begin, same

    mark_begin()
    for n in range(count):
        same.enqueue(n)


def enqueue_many(count: int) -> None:
    from .tasks import mark_begin, same

    mark_begin()
    for first in range(0, count, 1000):
        same.enqueue_many([(n,) for n in range(first, min(count, first + 1000))])


def fill(count: int) -> None:
    """Jobs for a worker, fresh statistics, and no checkpoint soon."""
    enqueue_many(count)
    statements = {
        "sqlite": ["ANALYZE"],
        "mysql": [f"ANALYZE TABLE {TABLES}"],
        "postgresql": [f"VACUUM ANALYZE {TABLES}", "CHECKPOINT"],
    }
    with connection.cursor() as cursor:
        for statement in statements[connection.vendor]:
            cursor.execute(statement)


def check_queued(count: int) -> None:
    found = waiting()
    assert found == count, f"{found} of {count} jobs are queued"


def check_ended(count: int) -> None:
    from taskq_django.models import JobResult

    left = waiting()
    assert not left, f"{left} of {count} jobs are left"
    if not os.environ["COMPARE_KEEPS"]:
        return
    kept = JobResult.objects.filter(status="SUCCESSFUL").values_list("return_value", flat=True)
    assert sorted(map(int, kept)) == list(range(count)), f"{len(kept)} of {count} results are kept, or others than it"


def waiting() -> int:
    from taskq_django.models import QueuedJob

    if not broker_url():
        return QueuedJob.objects.count()
    from taskq_django.backend import brokers_of

    (broker,) = brokers_of(("default",)).values()
    return sum(each.ready + each.running for each in broker.depth())


def broker_url() -> str:
    return str(settings.TASKS["default"].get("OPTIONS", {}).get("broker", ""))


STEPS = {step.__name__: step for step in (prepare, enqueue_each, enqueue_many, fill, check_queued, check_ended)}


def main(name: str, *numbers: str) -> None:
    django.setup()
    import taskq_django

    assert Path(taskq_django.__file__).is_relative_to(Path.cwd()), f"{taskq_django.__file__} is not what is compared"
    if name != "prepare":
        connection.ensure_connection()  # a part of the start, which is not measured
    STEPS[name](*map(int, numbers))
    connection.close()
    os._exit(0)  # Python's own end would be measured too


if __name__ == "__main__":
    main(*sys.argv[1:])
