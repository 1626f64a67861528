"""A database server that is killed, frozen, full or read-only: workers wait for it, and lose and double nothing."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from taskq_django import Result
from taskq_django.models import JobResult, WorkerProcess
from tests.app import tasks
from tests.support.ledger import Ledger
from tests.support.servers import Server
from tests.support.workers import RealWorker, cut_other_connections, wait_for
from tests.system.conftest import HASTY, LEASE
from tests.system.test_crashes import wait_for_end

Start = Callable[..., RealWorker]
Results = Sequence[Result[str]]

pytestmark = [
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server"),
]

TOO_MANY = re.compile(r"(?:too many clients|slots are reserved|Too many connections).*; next try in")

# What refuses the workers' user, and what allows it again.
LIMITS = {
    "postgresql": ("ALTER ROLE app CONNECTION LIMIT 0", "ALTER ROLE app CONNECTION LIMIT -1"),
    "mysql": ("SET GLOBAL max_user_connections = -1", "SET GLOBAL max_user_connections = 1000"),
}
READ_ONLY = {
    "postgresql": (
        "ALTER ROLE app SET default_transaction_read_only = on",
        "ALTER ROLE app RESET default_transaction_read_only",
    ),
    "mysql": ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0"),
}


@pytest.fixture
def two_workers(start_worker: Start, there: dict[str, str]) -> list[RealWorker]:
    workers = [start_worker("-t", "3", env=there).wait_until_ready() for _ in range(2)]
    wait_for(lambda: all(worker.children() for worker in workers))
    return workers


def logs(workers: Sequence[RealWorker]) -> str:
    return "\n---\n".join(worker.output for worker in workers)


def tell(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def check(workers: Sequence[RealWorker], ledger: Ledger, jobs: Results) -> None:
    """Every job ended once, no worker has ended, nobody counted the other as lost, and a stop works."""
    for worker in workers:
        wait_for_end(worker, *jobs)
    assert not ledger.lost({job.id for job in jobs})
    assert ledger.duplicated() == 0, logs(workers)
    assert set(JobResult.objects.values_list("status", "attempts", "tries")) == {("SUCCESSFUL", 1, 0)}, logs(workers)
    assert {worker.process.poll() for worker in workers} == {None}
    assert "counts as lost" not in logs(workers), logs(workers)
    for worker in workers:
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
        assert "Traceback" not in worker.output
    assert not WorkerProcess.objects.exists()


def test_a_killed_server_costs_no_job(two_workers: list[RealWorker], ledger: Ledger, server: Server) -> None:
    jobs: list[Result[str]] = []
    waits = []
    for _ in range(3):
        seen = ledger.started()
        jobs += tasks.ledgered.enqueue_many([(str(ledger.path), 0.3)] * 40)  # each time: they may all have ended
        wait_for(lambda seen=seen: ledger.started() >= seen + 4, what=lambda: logs(two_workers))  # type: ignore[misc]
        server.kill()
        with pytest.raises(OperationalError):
            tasks.ledgered.enqueue(str(ledger.path), 0.3)
        connection.close()
        wait_for(lambda: not ledger.running(), what=lambda: logs(two_workers))
        seen = ledger.started()
        server.start()
        up_at = time.monotonic()
        wait_for(lambda seen=seen: ledger.started() > seen, what=lambda: logs(two_workers))  # type: ignore[misc]
        waits.append(time.monotonic() - up_at)
    check(two_workers, ledger, jobs)
    # What else a machine does only makes it longer: of three rounds one is as quick as it can be.
    assert min(waits) < 10, waits


def test_a_server_that_is_killed_as_short_jobs_are_settled_costs_none(
    two_workers: list[RealWorker], ledger: Ledger, server: Server
) -> None:
    jobs: list[Result[str]] = []
    for _ in range(3):
        seen = ledger.started()
        jobs += tasks.ledgered.enqueue_many([(str(ledger.path), 0.0)] * 3000)  # each time: they may all have ended
        wait_for(lambda seen=seen: ledger.started() >= seen + 200, what=lambda: logs(two_workers))  # type: ignore[misc]
        server.kill()
        connection.close()
        server.start()
    wait_for(lambda: JobResult.objects.count() == len(jobs), what=lambda: logs(two_workers))
    check(two_workers, ledger, jobs[-1:])
    assert not ledger.lost({job.id for job in jobs})


def test_a_server_that_says_nothing_for_longer_than_a_lease_costs_no_worker_its_jobs(
    two_workers: list[RealWorker], ledger: Ledger, server: Server
) -> None:
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.3)] * 30)
    wait_for(lambda: ledger.started() >= 6, what=lambda: logs(two_workers))
    server.freeze()
    wait_for(lambda: not ledger.running(), what=lambda: logs(two_workers))
    time.sleep(LEASE + 1)  # the length of the fault
    server.thaw()
    check(two_workers, ledger, jobs)


@pytest.mark.parametrize("change", [LIMITS, READ_ONLY], ids=["takes no connection", "takes no write"])
def test_a_server_that_refuses_work_is_waited_for(
    two_workers: list[RealWorker], ledger: Ledger, server: Server, change: dict[str, tuple[str, str]]
) -> None:
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.3)] * 20)
    wait_for(lambda: ledger.started() >= 4, what=lambda: logs(two_workers))
    refuse, allow = change[connection.vendor]
    tell(refuse)
    try:
        cut_other_connections()
        wait_for(
            lambda: all(worker.output.count("next try in") >= 4 for worker in two_workers),
            what=lambda: logs(two_workers),
        )
    finally:
        tell(allow)
    check(two_workers, ledger, jobs)


class Crowd:
    """Holds every connection of the server that a user without special rights can have."""

    def __init__(self) -> None:
        self._held: list[Any] = []

    def grow(self) -> None:
        """Take all that are left."""
        while True:
            # In another database: those are not cut with the workers'.
            name = "postgres" if connection.vendor == "postgresql" else ""
            other = connections["default"].copy()
            other.settings_dict = {**other.settings_dict, "USER": "app", "NAME": name}
            try:
                other.ensure_connection()
            except OperationalError:
                return
            self._held.append(other)

    def leave(self) -> None:
        for each in self._held:
            each.close()


def test_a_server_without_a_free_connection_is_waited_for(
    start_worker: Start, there_with: Callable[..., dict[str, str]], ledger: Ledger
) -> None:
    # Of a lease that ends here the one who was quicker than the crowd would rightly count the other as lost.
    there = there_with(TASKQ={"WORKER": {**HASTY, "LEASE": 300.0}})
    two_workers = [start_worker("-t", "3", env=there).wait_until_ready() for _ in range(2)]
    wait_for(lambda: all(worker.children() for worker in two_workers))
    jobs = tasks.ledgered.enqueue_many([(str(ledger.path), 0.3)] * 20)
    wait_for(lambda: ledger.started() >= 4, what=lambda: logs(two_workers))
    crowd = Crowd()

    def all_refused() -> bool:
        crowd.grow()
        if cut := [worker for worker in two_workers if not TOO_MANY.search(worker.output)]:
            cut_other_connections()  # of a worker that was quicker than the crowd
            crowd.grow()
        return not cut and all(len(TOO_MANY.findall(worker.output)) >= 5 for worker in two_workers)

    try:
        wait_for(all_refused, timeout=120, what=lambda: logs(two_workers))
        wait_for(lambda: not ledger.running(), what=lambda: logs(two_workers))
        said = [[line for line in worker.output.splitlines() if " WARNING " in line] for worker in two_workers]
    finally:
        crowd.leave()
    # One line a try, beside the two in which maintenance says once that its connection was cut.
    assert all(sum("next try in" not in line for line in lines) <= 2 for lines in said), logs(two_workers)
    check(two_workers, ledger, jobs)


def test_a_worker_that_starts_before_its_server_waits_for_it(
    start_worker: Start, there: dict[str, str], server: Server
) -> None:
    job = tasks.add.enqueue(1)
    server.kill()
    connection.close()
    worker = start_worker(env=there)
    wait_for(
        lambda: worker.output.count("next try in") >= 2 or worker.process.poll() is not None,
        what=lambda: worker.output,
    )
    assert worker.process.poll() is None, worker.output
    server.start()
    wait_for_end(worker, job)
    assert "Traceback" not in worker.output
