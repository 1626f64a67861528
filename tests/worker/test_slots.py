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
from taskq_django.worker.slots import Interrupted, ThreadSlot

CLAIM = Claim(Job("0" * 36, "a.task", "[[],{}]", "default", "default"), "token", 1, 0, 0.0, 0.0)


def board() -> Blackboard:
    return Blackboard(multiprocessing.get_context("spawn"), 2)


def in_a_thread(act: Callable[[ThreadSlot], object]) -> tuple[ThreadSlot, threading.Thread, list[object]]:
    slot, said = ThreadSlot(0, board(), lambda: None), list[object]()
    ready = threading.Event()

    def live() -> None:
        slot.ident = threading.get_ident()
        sys.settrace(None)  # a tracer written in Python holds locks, in which it must not be interrupted
        slot.begin(CLAIM)
        ready.set()
        try:
            said.append(act(slot))
        except BaseException as error:
            said.append(error)

    thread = threading.Thread(target=live)
    thread.start()
    ready.wait(5)
    return slot, thread, said


def until_interrupted(slot: ThreadSlot) -> str:
    try:
        slot.arm(None)
        while True:
            pass
    except Interrupted:
        return "interrupted"
    finally:
        slot.disarm()


def test_an_armed_slot_is_interrupted() -> None:
    slot, thread, said = in_a_thread(until_interrupted)
    while not slot.reason:
        slot.interrupt(CLAIM, "timeout")
    thread.join(5)
    assert said == ["interrupted"]
    assert slot.reason == "timeout"


def test_another_claim_is_not_interrupted() -> None:
    stop = threading.Event()

    def work(slot: ThreadSlot) -> str:
        slot.arm(None)
        stop.wait(5)
        slot.disarm()
        return "done"

    slot, thread, said = in_a_thread(work)
    slot.interrupt(CLAIM._replace(attempt=2), "cancel")
    stop.set()
    thread.join(5)
    assert (said, slot.reason) == (["done"], None)


def test_after_disarming_nothing_arrives_any_more() -> None:
    # The race itself: one thread arms and disarms as fast as it can, another fires all the time.
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    deadline = time.monotonic() + 5
    ended = threading.Event()
    counts = {"in": 0, "done": 0}

    def work(slot: ThreadSlot) -> str:
        while counts["in"] < 20 and time.monotonic() < deadline:
            slot.begin(CLAIM)
            try:
                try:
                    slot.arm(None)
                    for _ in range(100):
                        pass
                finally:
                    slot.disarm()
                counts["done"] += 1
            except Interrupted:
                counts["in"] += 1
            for _ in range(100):  # not armed: whatever arrived here would end the thread
                pass
        ended.set()
        return "alive"

    slot, thread, said = in_a_thread(work)
    while not ended.is_set() and thread.is_alive():
        slot.interrupt(CLAIM, "timeout")
        time.sleep(0.0005)  # between two shots
    thread.join(10)
    sys.setswitchinterval(before)
    assert said == ["alive"]
    assert counts["in"] > 0


def test_the_blackboard_shows_what_has_begun_and_is_late() -> None:
    shared = board()
    shared.begin(0, "a" * 36)
    shared.begin(1, "b" * 36)
    shared.limit(1, 10.0)
    assert shared.begun() == {"a" * 36, "b" * 36}
    assert shared.overdue(now=12.5) == {"b" * 36: 2.5}
    shared.end(0)
    assert shared.begun() == {"b" * 36}
    assert shared.lease_age() > 0
    shared.renewed(time.monotonic())
    assert shared.lease_age() < 5
    assert (shared.has_served, shared.is_leaving, shared.has_ended) == (False, False, False)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_blackboard_is_seen_by_both_sides(method: str) -> None:
    context = multiprocessing.get_context(method)
    shared = Blackboard(context, 1)
    child = context.Process(target=shared.begin, args=(0, "c" * 36))
    child.start()
    child.join(20)
    assert shared.begun() == {"c" * 36}
