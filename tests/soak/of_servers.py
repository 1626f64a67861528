"""Faults of the database server, and of the line to it."""

from __future__ import annotations

import time
from typing import Any

from .bench import Bench, wait_for


def cut_all_connections(bench: Bench, victim: Any) -> None:
    from tests.support.workers import cut_other_connections

    cut_other_connections()


def take_the_database_away_for_longer_than_a_lease(bench: Bench, victim: Any) -> None:
    assert bench.proxy is not None
    bench.proxy.take_down()
    time.sleep(1.2)  # the length of the outage
    bench.proxy.bring_up()


def kill_the_server(bench: Bench, victim: Any) -> None:
    from django.db import connection

    bench.server.kill()
    connection.close()
    bench.server.start()


def freeze_the_server_for_longer_than_a_lease(bench: Bench, victim: Any) -> None:
    bench.server.freeze()
    time.sleep(1.2)  # the length of the fault
    bench.server.thaw()


def leave_a_settle_unanswered(bench: Bench, victim: Any) -> None:
    _unanswered(bench, b'INSERT INTO [`"]?taskq_django_jobresult|COMMIT')


def leave_a_claim_unanswered(bench: Bench, victim: Any) -> None:
    _unanswered(bench, b"SET status = 'RUNNING'|COMMIT")


def _unanswered(bench: Bench, words: bytes) -> None:
    """The next words like these that any worker sends: the server acts on them, and its answer is lost."""

    assert bench.proxy is not None
    cuts = bench.proxy.cuts
    bench.proxy.cut_after = words
    wait_for(lambda: bench.proxy.cuts > cuts)  # type: ignore[union-attr]


def lose_what_the_server_answers(bench: Bench, victim: Any) -> None:
    _lost(bench, answers=True)


def lose_what_the_workers_ask(bench: Bench, victim: Any) -> None:
    _lost(bench, requests=True)


def _lost(bench: Bench, **ways: bool) -> None:
    """On every line that there is by now; nobody is told. New ones are whole."""
    assert bench.proxy is not None
    assert bench.proxy.lose(**ways)


FAULTS = [
    cut_all_connections,
    take_the_database_away_for_longer_than_a_lease,
    kill_the_server,
    freeze_the_server_for_longer_than_a_lease,
    leave_a_settle_unanswered,
    leave_a_claim_unanswered,
    lose_what_the_server_answers,
    lose_what_the_workers_ask,
]
