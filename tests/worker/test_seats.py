"""Interrupting a thread: the exception arrives in the task's own code, or not at all."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections.abc import Callable

import pytest

from taskq_django.jobs import Claim, Job
from taskq_django.worker.blackboard import Blackboard
from taskq_django.worker.seats import Interrupted, ThreadSeat

GUARD = 60.0  # seconds: against hanging
CLAIM = Claim(Job("0" * 36, "a.task", "[[],{}]", "default", "default"), "token", 0.0)


def board() -> Blackboard:
    return Blackboard(multiprocessing.get_context("spawn"), 2)


def in_a_thread(act: Callable[[ThreadSeat], object]) -> tuple[ThreadSeat, threading.Thread, list[object]]:
    seat, said = ThreadSeat(board(), lambda: None), list[object]()
    ready = threading.Event()

    def live() -> None:
        seat.ident = threading.get_ident()
        sys.settrace(None)  # a tracer written in Python holds locks, in which it must not be interrupted
        seat.begin(CLAIM)
        ready.set()
        try:
            said.append(act(seat))
        except BaseException as error:
            said.append(error)

    thread = threading.Thread(target=live)
    thread.start()
    assert ready.wait(GUARD)
    return seat, thread, said


def until_interrupted(seat: ThreadSeat) -> str:
    try:
        seat.arm(None)
        while True:
            pass
    except Interrupted:
        return "interrupted"
    finally:
        seat.disarm()


def test_an_armed_seat_is_interrupted() -> None:
    seat, thread, said = in_a_thread(until_interrupted)
    while not seat.reason:
        seat.interrupt(CLAIM, "timeout")
    thread.join(GUARD)
    assert said == ["interrupted"]
    assert seat.reason == "timeout"


def test_another_claim_is_not_interrupted() -> None:
    stop = threading.Event()

    def work(seat: ThreadSeat) -> str:
        seat.arm(None)
        stop.wait(GUARD)
        seat.disarm()
        return "done"

    seat, thread, said = in_a_thread(work)
    seat.interrupt(CLAIM._replace(receipt="another"), "cancel")
    stop.set()
    thread.join(GUARD)
    assert (said, seat.reason) == (["done"], None)


def test_after_disarming_nothing_arrives_any_more() -> None:
    # The race itself: one thread arms and disarms as fast as it can, another fires all the time.
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    deadline = time.monotonic() + GUARD
    ended = threading.Event()
    counts = {"in": 0, "done": 0}

    def work(seat: ThreadSeat) -> str:
        while counts["in"] < 20 and time.monotonic() < deadline:
            seat.begin(CLAIM)
            try:
                try:
                    seat.arm(None)
                    for _ in range(100):
                        pass
                finally:
                    seat.disarm()
                counts["done"] += 1
            except Interrupted:
                counts["in"] += 1
            for _ in range(100):  # not armed: whatever arrived here would end the thread
                pass
            seat.unbegin(CLAIM)
        ended.set()
        return "alive"

    seat, thread, said = in_a_thread(work)
    while not ended.is_set() and thread.is_alive():
        seat.interrupt(CLAIM, "timeout")
        time.sleep(0.0005)  # between two shots
    thread.join(GUARD)
    sys.setswitchinterval(before)
    assert said == ["alive"]
    assert counts["in"] > 0


def test_the_blackboard_shows_what_has_begun_what_is_over_and_what_is_late() -> None:
    shared = board()
    first, second = "a" * 36, "b" * 36
    shared.begin(first)
    line = shared.begin(second)
    shared.limit(line, 10.0)
    assert (shared.begun(), shared.over()) == ({first, second}, set())
    assert shared.overdue(now=12.5) == {second: 2.5}
    shared.end(line)
    assert (shared.begun(), shared.over(), shared.overdue(now=12.5)) == ({first}, {second}, {})
    shared.settled([second, "c" * 36])  # the last one had not begun
    assert (shared.begun(), shared.over()) == ({first}, set())
    assert shared.lease_age(0) == float("inf")
    shared.renewed(0, time.monotonic())
    assert shared.lease_age(0) < GUARD
    assert (shared.has_served, shared.is_leaving, shared.has_ended) == (False, False, False)


def test_a_run_leaves_no_limit_to_the_next_one() -> None:
    shared = Blackboard(multiprocessing.get_context("spawn"), 1)
    seat = ThreadSeat(shared, lambda: None)
    seat.begin(CLAIM)
    seat.arm(0.0)
    assert shared.overdue(now=time.monotonic() + 1)
    seat.end()
    shared.settled([CLAIM.job.id])
    seat.begin(CLAIM)
    assert (shared.begun(), shared.overdue(now=time.monotonic() + 1)) == ({CLAIM.job.id}, {})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_blackboard_is_seen_by_both_sides(method: str) -> None:
    context = multiprocessing.get_context(method)
    shared = Blackboard(context, 1)
    child = context.Process(target=shared.begin, args=("c" * 36,))
    child.start()
    child.join(20)
    assert shared.begun() == {"c" * 36}
