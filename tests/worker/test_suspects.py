"""Who is suspected of killing processes, and which suspects get one of their own."""

from __future__ import annotations

import math
import multiprocessing
from types import SimpleNamespace
from typing import Any

import pytest

from taskq_django import control
from taskq_django.backend import brokers_of
from taskq_django.jobs import Claim, Job, new_id
from taskq_django.models import Request
from taskq_django.states import State
from taskq_django.worker import suspects as suspects_module
from taskq_django.worker import wards as wards_module
from taskq_django.worker.blackboard import Blackboard, Wanted
from taskq_django.worker.crash_record import MANY, TASKS, CrashRecord, key_of
from taskq_django.worker.held import Held
from taskq_django.worker.options import WorkerOptions
from taskq_django.worker.supervisor import Supervisor
from taskq_django.worker.suspects import FIRST, LONGEST, SUSPECT, Suspects, suspects_of
from taskq_django.worker.wards import FEW, OneJob, Wards

KILLER, OTHER = "app.tasks.kill", "app.tasks.add"


@pytest.fixture
def record() -> CrashRecord:
    return CrashRecord(multiprocessing.get_context())


def board(record: CrashRecord | None = None, only: Wanted | None = None) -> Blackboard:
    return Blackboard(multiprocessing.get_context(), 100, 1, record, only)


def claim(task_path: str = OTHER, **fields: Any) -> Claim:
    return Claim(Job(new_id(), task_path, "[[],{}]", "default", "default", **fields), "receipt", 0.0)


def convict(record: CrashRecord, *task_paths: str) -> None:
    for n in range(MANY):
        record.accuse(task_paths, f"a death {n}")


def wanted(task_path: str) -> Wanted:
    return Wanted(0, new_id(), key_of(task_path), math.inf)


# --- the record -----------------------------------------------------------------------------------------------------


def test_a_task_keeps_killing_after_some_deaths_in_a_row(record: CrashRecord) -> None:
    assert record.is_clean
    for n in range(MANY):
        assert not record.keeps_killing(key_of(KILLER))
        record.accuse([KILLER], f"a death {n}")
    assert record.keeps_killing(key_of(KILLER))
    assert not record.keeps_killing(key_of(OTHER))
    assert not record.is_clean


def test_a_job_that_ends_acquits_its_task_and_no_other(record: CrashRecord) -> None:
    convict(record, KILLER, OTHER)
    record.acquit(OTHER)
    record.acquit("app.tasks.unknown")
    assert (record.keeps_killing(key_of(KILLER)), record.keeps_killing(key_of(OTHER))) == (True, False)
    record.acquit(KILLER)
    assert record.is_clean


def test_it_tells_when_a_task_is_accused_that_was_not_before(record: CrashRecord) -> None:
    record.accuse([KILLER], "a death")
    assert record.has_grown
    record.has_grown = False
    record.accuse([KILLER], "another")
    assert not record.has_grown
    record.accuse([KILLER, OTHER], "a third")
    assert record.has_grown


def test_one_death_is_enough_while_processes_end_nothing(record: CrashRecord) -> None:
    record.accuse([KILLER], "a death")
    record.be_strict(True)
    assert (record.keeps_killing(key_of(KILLER)), record.keeps_killing(key_of(OTHER))) == (True, False)
    record.be_strict(False)
    assert not record.keeps_killing(key_of(KILLER))


def test_a_death_of_which_is_told_twice_counts_once(record: CrashRecord) -> None:
    for _ in range(MANY + 1):
        record.accuse([KILLER], "the same")
    assert not record.keeps_killing(key_of(KILLER))


def test_of_more_tasks_than_can_be_known_the_worst_stay(record: CrashRecord) -> None:
    convict(record, KILLER)
    record.accuse([f"app.tasks.once_{n}" for n in range(TASKS * 2)], "another")
    assert record.keeps_killing(key_of(KILLER))


def test_deaths_without_end_are_counted(record: CrashRecord) -> None:
    for n in range(300):
        record.accuse([KILLER], str(n))
    assert record.keeps_killing(key_of(KILLER))


# --- the wards ------------------------------------------------------------------------------------------------------


def asking(*paths: str) -> list[Blackboard]:
    """Boards of processes that want a job of these tasks to be run, each of one."""
    boards = [board() for _ in paths]
    for each, path in zip(boards, paths, strict=True):
        each.want(wanted(path))
    return boards


def test_few_wards_are_open_at_a_time_and_the_rest_stays_wanted(record: CrashRecord) -> None:
    wards, boards = Wards(record), asking(*[f"app.tasks.t{n}" for n in range(FEW + 2)])
    granted = wards.granted(boards)
    assert len(granted) == FEW
    for n, each in enumerate(granted):
        wards.opened(f"ward {n}", each)
    assert wards.granted(boards) == []
    assert sum(each.wanted is not None for each in boards) == 2
    assert "ward 0" in wards

    wards.closed("ward 0", has_died=False)
    assert len(wards.granted(boards)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_quiet_worker_opens_no_ward_until_it_serves_again() -> None:
    options = WorkerOptions(name="w", backends=("default",), heartbeat=0.0)
    probes: Any = None
    supervisor = Supervisor(options, brokers_of(options.backends).values(), probes)
    (suspect,) = asking(KILLER)
    supervisor._children = [SimpleNamespace(board=suspect, is_leaving=False, worker_id="w/1")]  # type: ignore[list-item]
    leases = supervisor._leases
    leases.register()

    for request, wards in ((Request.QUIET, 0), (None, 1)):
        control.ask_worker(leases.worker_id, request, "default")
        leases.renew()
        leases.heed(is_stopping=False)
        assert sum(each is not None for each in supervisor._wanted()) == wards
    leases.leave()


def test_what_has_come_back_by_itself_is_run_in_no_ward(record: CrashRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    wards, late = Wards(record), board()
    late.want(wanted(OTHER)._replace(until=100.0))
    monkeypatch.setattr(wards_module, "monotonic", lambda: 100.0)
    assert wards.granted([late]) == []
    assert late.wanted is None
    assert OneJob(SimpleNamespace(take=pytest.fail), "an id", 100.0).claim(["q"], 1, "w1") == []  # type: ignore[arg-type]


def test_of_a_task_that_keeps_killing_one_job_runs_at_a_time_and_they_rest_after_a_death(
    record: CrashRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(wards_module, "monotonic", lambda: now)
    convict(record, KILLER)
    wards = Wards(record)
    (granted,) = wards.granted(asking(KILLER, KILLER))
    wards.opened("ward", granted)
    assert record.is_isolated(key_of(KILLER))
    assert wards.granted(asking(KILLER)) == []

    wards.closed("ward", has_died=True)
    assert wards.granted(asking(KILLER)) == []
    assert len(wards.granted(asking(OTHER))) == 1, "another task does not wait for it"
    now += wards_module.REST
    assert len(wards.granted(asking(KILLER))) == 1
    assert not record.is_isolated(key_of(KILLER))


def test_suspects_of_a_task_that_has_been_acquitted_do_not_wait_for_each_other(record: CrashRecord) -> None:
    assert len(Wards(record).granted(asking(OTHER, OTHER))) == 2


def test_the_loop_of_a_ward_sees_one_job_and_claims_it_once() -> None:
    found = claim()
    taken: list[tuple[str, str]] = []
    broker: Any = SimpleNamespace(alias="default", take=lambda id_, worker_id: taken.append((id_, worker_id)) or found)
    ward = OneJob(broker, found.job.id, math.inf)
    assert ward.alias == "default"
    assert ward.claim(ward.ready_queues(), 5, "w1") == [found]
    assert (ward.ready_queues(), ward.claim(["default"], 5, "w1"), ward.promote()) == ([], [], None)
    assert taken == [(found.job.id, "w1")]


# --- the suspects ---------------------------------------------------------------------------------------------------


class Case:
    def __init__(self, record: CrashRecord) -> None:
        self.board = board(record)
        self.held = Held(self.board)
        self.finisher: Any = SimpleNamespace(inbox=[])
        self.suspects = Suspects(self.held, self.finisher, self.board, record, ("other", "default"))

    def put_off(self, *claims: Claim) -> list[Claim]:
        """Returns those that may run here; the others are put off."""
        self.held.take(claims)
        innocent = self.suspects.put_off(list(claims))
        self.suspects.ask_for_a_ward()
        assert self.board.wanted is None or self.board.wanted.job_id not in self.held, "nobody else could claim it yet"
        self.held.drop([outcome.claim for outcome in self.finisher.inbox])
        self.suspects.ask_for_a_ward()
        return innocent


@pytest.fixture
def case(record: CrashRecord) -> Case:
    return Case(record)


def test_suspects_are_put_off_and_the_first_of_them_is_wanted_in_a_ward(case: Case) -> None:
    suspects, innocent = [claim(crashes=SUSPECT), claim(crashes=SUSPECT)], claim(crashes=SUSPECT - 1)
    assert case.put_off(*suspects, innocent) == [innocent]
    assert case.board.wanted is not None
    assert case.board.wanted[:3] == (1, suspects[0].job.id, key_of(OTHER))
    assert [(outcome.claim, outcome.began) for outcome in case.finisher.inbox] == [(each, False) for each in suspects]
    assert all(FIRST <= outcome.delay < FIRST + 1 for outcome in case.finisher.inbox)
    assert not case.suspects.is_flooded


def test_a_flood_leaves_room_for_suspects_of_other_tasks(case: Case, record: CrashRecord) -> None:
    convict(record, KILLER)
    case.put_off(*[claim(KILLER) for _ in range(500)])
    other = claim(crashes=SUSPECT)
    case.put_off(other)
    assert case.board.wanted is not None
    record.isolate(key_of(KILLER), yes=True)
    case.board.granted()
    case.suspects.ask_for_a_ward()
    assert case.board.wanted is not None
    assert case.board.wanted[:3] == (1, other.job.id, key_of(OTHER))


def test_suspects_ask_for_wards_one_after_another_until_they_come_back_by_themselves(
    case: Case, record: CrashRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = suspects = [claim(crashes=SUSPECT) for _ in range(3)]
    case.put_off(*suspects)
    assert case.suspects.wait_for_wards
    for each in (first, second):
        assert case.board.wanted is not None
        assert case.board.wanted.job_id == each.job.id
        case.board.granted()
        now = record.back_at - (each is first)
        monkeypatch.setattr(suspects_module, "monotonic", lambda now=now: now)
        case.suspects.ask_for_a_ward()
    assert case.board.wanted is None, f"{third.job.id} is ready by now"
    assert not case.suspects.wait_for_wards


def test_fresh_jobs_of_a_task_that_keeps_killing_are_put_off_too(case: Case, record: CrashRecord) -> None:
    convict(record, KILLER)
    assert case.put_off(claim(KILLER)) == []
    assert case.suspects.is_flooded
    record.acquit(KILLER)
    fresh = claim(KILLER)
    assert case.put_off(fresh) == [fresh]
    assert not case.suspects.is_flooded


def test_of_a_flood_the_later_ones_come_back_later_but_not_for_ever(case: Case, record: CrashRecord) -> None:
    convict(record, KILLER)
    for _ in range(100):
        case.put_off(*[claim(KILLER) for _ in range(500)])
    waits = [round(outcome.delay, 3) for outcome in case.finisher.inbox[::500]]
    growing = [wait for wait in waits if wait < LONGEST - 60]
    assert growing == sorted(growing)
    assert waits[0] < waits[5] < LONGEST
    assert LONGEST - 60 < waits[-1] <= LONGEST


def test_what_one_process_has_put_off_another_one_knows(case: Case, record: CrashRecord) -> None:
    assert not case.suspects.are_away
    Case(record).put_off(claim(crashes=SUSPECT))
    assert case.suspects.are_away


def test_a_flood_puts_off_the_suspects_of_its_own_task_only(case: Case, record: CrashRecord) -> None:
    convict(record, KILLER)
    case.put_off(*[claim(KILLER) for _ in range(500)])
    case.put_off(claim(OTHER, crashes=SUSPECT))
    assert case.finisher.inbox[-1].delay < FIRST + 1


def test_no_ward_is_asked_for_while_one_runs_a_job_of_a_task_that_keeps_killing(
    case: Case, record: CrashRecord
) -> None:
    convict(record, KILLER)
    record.isolate(key_of(KILLER), yes=True)
    case.put_off(claim(KILLER))
    assert case.board.wanted is None
    case.put_off(claim(OTHER, crashes=SUSPECT))
    assert case.board.wanted is not None


def test_what_will_not_be_run_is_not_put_off(case: Case) -> None:
    ended = claim(crashes=SUSPECT)._replace(verdict=State.CANCELLED.value)
    assert case.put_off(ended) == [ended]


def test_a_ward_and_a_process_without_a_supervisor_run_what_comes(record: CrashRecord, case: Case) -> None:
    given: Any = (case.held, case.finisher)
    assert suspects_of(*given, board(record, wanted(OTHER)), ()) is None
    assert suspects_of(*given, board(), ()) is None
    assert suspects_of(*given, board(record), ()) is not None
