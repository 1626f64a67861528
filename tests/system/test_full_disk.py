"""The disk of the database is full: workers hold what came of their jobs until there is room, and lose nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from django.db import connection

from tests.app import tasks
from tests.support.ledger import Ledger
from tests.support.servers import Server
from tests.support.small_disk import Ballast
from tests.support.workers import RealWorker, wait_for
from tests.system.test_servers import check, logs

# The fourth in a row of one loop.
TRIES = re.compile(r"cannot be used: .*; next try in [\d.]+ s \(4\)")

Start = Callable[..., RealWorker]


def test_a_full_disk_is_waited_for(
    start_worker: Start, ledger: Ledger, small_disk: Path, on_small_disk: tuple[Server | None, dict[str, str]]
) -> None:
    server, env = on_small_disk
    workers = [start_worker("-t", "3", env=env).wait_until_ready() for _ in range(2)]
    jobs = tasks.ledgered_large.enqueue_many([(str(ledger.path), 0.1, 20_000)] * 500)
    wait_for(lambda: ledger.started() >= 10, what=lambda: logs(workers))
    ballast = Ballast(small_disk)

    def all_hold() -> bool:
        """Each has tried in vain for some seconds, and what ran has ended."""
        ballast.fill()  # again: a database may have given room back
        return all(TRIES.search(worker.output) for worker in workers) and not ledger.running()

    wait_for(all_hold, what=lambda: logs(workers))
    ended = sum(story.ends for story in ledger.stories().values())
    assert logs(workers).count("succeeded task=") < ended < len(jobs)
    ballast.remove()
    if server is not None:
        connection.close()
        server.start()  # some end themselves when they cannot write their journal
    check(workers, ledger, jobs)
