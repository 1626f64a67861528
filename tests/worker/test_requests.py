"""What a worker does that somebody has asked something of."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection

from taskq_django import control
from taskq_django.models import Request, WorkerProcess, WorkerRequest, WorkerState
from taskq_django.store import pruning
from taskq_django.worker.lease import Lease
from taskq_django.worker.leases import Leases
from tests.support.holding import a_board

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def leases() -> Leases:
    """Of a worker with one process, which renews at each turn."""
    made = Leases("me", [Lease("me", "default", every=0.0, lasts=30, described={"version": "9"})])
    made.register()
    made.enrol({"me/child": 1}, {"me/child": a_board()})
    return made


def ask(leases: Leases, request: Request | None) -> bool:
    return control.ask_worker(leases.worker_id, request, "default")


def turn(leases: Leases, **more: Any) -> bool:
    assert leases.renew()
    return leases.heed(**{"is_stopping": False, **more})


def state(leases: Leases) -> str:
    return WorkerProcess.objects.get(id=leases.worker_id).state


def test_a_quiet_worker_tells_its_processes_and_says_so_until_it_is_to_serve_again(leases: Leases) -> None:
    board = leases._boards["me/child"]
    assert (turn(leases), board.is_quiet, state(leases)) == (False, False, WorkerState.SERVING)

    assert ask(leases, Request.QUIET)
    assert (turn(leases), board.is_quiet, state(leases)) == (False, True, WorkerState.QUIET)

    late = a_board()
    leases.enrol({"me/late": 2}, {"me/late": late})
    assert late.is_quiet, "a process that starts meanwhile claims nothing either"

    assert ask(leases, None)
    assert (turn(leases), board.is_quiet, late.is_quiet, state(leases)) == (False, False, False, WorkerState.SERVING)


def test_a_worker_is_asked_to_stop_once_and_for_all(leases: Leases) -> None:
    ask(leases, Request.STOP)
    ask(leases, Request.QUIET)
    ask(leases, None)
    assert turn(leases)
    assert state(leases) == WorkerState.STOPPING


def test_one_that_stops_by_a_signal_says_so(leases: Leases) -> None:
    assert not turn(leases, is_stopping=True)
    assert state(leases) == WorkerState.STOPPING


@pytest.mark.parametrize("is_lost", [False, True], ids=["by_itself", "lost"])
def test_who_goes_on_by_itself_under_a_new_id_is_still_asked(leases: Leases, is_lost: bool) -> None:
    ask(leases, Request.QUIET)
    turn(leases)
    if is_lost:  # who asks then, sees that the one that was asked is gone
        WorkerProcess.objects.filter(id=leases.worker_id).delete()
        assert not leases.renew()
    else:
        leases.leave()
    leases.register()
    board = a_board()
    leases.enrol({"me/next": 1}, {"me/next": board})
    turn(leases)
    assert (state(leases), board.is_quiet) == ((WorkerState.SERVING, False) if is_lost else (WorkerState.QUIET, True))

    if not is_lost:
        ask(leases, None)
        turn(leases)
        assert state(leases) == WorkerState.SERVING


def test_what_was_asked_is_known_under_the_new_id_once_the_store_answers(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(leases, Request.QUIET)
    turn(leases)
    with monkeypatch.context() as patched:
        patched.setattr(Lease, "_write", lambda *args: (_ for _ in ()).throw(OperationalError("away")))
        leases.register()
        leases.register()
    turn(leases)
    assert state(leases) == WorkerState.QUIET


def test_only_a_worker_that_is_there_can_be_asked(leases: Leases) -> None:
    assert not control.ask_worker("gone", Request.STOP, "default")
    assert not control.ask_worker("me/child", Request.STOP, "default"), "it is a process, and no worker"
    assert not WorkerRequest.objects.exists()


def test_a_worker_tells_of_itself(leases: Leases) -> None:
    leases._boards["me/child"].begin("0" * 36)
    turn(leases)
    row = WorkerProcess.objects.get(id=leases.worker_id)
    assert (row.version, row.busy) == ("9", 1)
    assert row.memory is None or 1 <= row.memory < 100_000


def test_nobody_waits_for_its_transaction_while_a_worker_reads_what_it_tells(leases: Leases) -> None:
    inside: list[bool] = []
    for lease in leases:
        lease.vitals = lambda: (inside.append(connection.in_atomic_block), {})[1]
    leases.renew()
    assert inside == [False]


def test_requests_to_workers_that_are_gone_are_pruned(leases: Leases) -> None:
    ask(leases, Request.QUIET)
    assert pruning.prune_all("default") == 0
    leases.leave()
    assert pruning.prune_all("default") == 1
    assert not WorkerRequest.objects.exists()
