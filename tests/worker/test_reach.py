"""Which brokers a loop asks while one of them is away."""

from __future__ import annotations

import ctypes
import sys
import time
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest

from taskq_django.exceptions import BrokerError, BrokerUnavailable
from taskq_django.worker import reach as reach_module
from taskq_django.worker.reach import LONGEST_WAIT, Reach
from tests.support.holding import a_board


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(reach_module, "monotonic", clock)
    return clock


def brokers(*aliases: str) -> dict[str, Any]:
    return {alias: SimpleNamespace(alias=alias) for alias in aliases}


def fail(reach: Reach, broker: Any, error: Exception) -> None:
    with reach.guard(broker):
        raise error


def here(reach: Reach) -> list[str]:
    return [broker.alias for broker in reach.here()]


def test_one_that_fails_is_away_until_it_is_tried_and_back_after_a_whole_turn(clock: Clock) -> None:
    both = brokers("a", "b")
    reach = Reach(both, a_board())
    fail(reach, both["a"], BrokerUnavailable("gone"))
    assert (here(reach), reach.has("a"), reach.begin_trials()) == (["b"], False, [])

    clock.now = reach.next_try_at
    assert reach.begin_trials() == [both["a"]]
    assert (here(reach), reach.is_on_trial, reach.is_whole) == (["a", "b"], True, False)
    reach.end_trials()
    assert (here(reach), reach.is_whole, reach.next_try_at) == (["a", "b"], True, float("inf"))


def test_one_that_answers_at_first_and_fails_in_its_turn_is_not_back(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk can be read from."""
    only = brokers("a")
    reach = Reach(only, a_board())
    pauses = []
    for _ in range(4):
        fail(reach, only["a"], BrokerUnavailable("the disk is full"))
        reach.end_trials()
        assert here(reach) == []
        pauses.append(reach.next_try_at - clock.now)
        clock.now = reach.next_try_at
        reach.begin_trials()
    assert pauses == sorted(pauses)
    assert "(4)" in caplog.text
    assert "answers again" not in caplog.text


def test_who_is_slow_to_fail_is_asked_the_less_often_the_more_it_costs_the_others(clock: Clock) -> None:
    both = brokers("a", "b")
    reach = Reach(both, a_board())
    for seconds, least in ((0.0, 0.1), (2.0, 7.0), (60.0, LONGEST_WAIT * 0.75)):
        with reach.guard(both["a"]):
            clock.now += seconds
            raise BrokerUnavailable("no answer")
        assert least <= reach.next_try_at - clock.now <= LONGEST_WAIT * 1.25


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt()])
def test_what_is_no_outage_is_not_taken_for_one(error: Exception) -> None:
    both = brokers("a", "b")
    reach = Reach(both, a_board())
    with pytest.raises(type(error)):
        fail(reach, both["a"], error)
    assert reach.is_whole


def test_missing_tables_end_a_worker_that_has_no_other_broker() -> None:
    error = BrokerError("run migrate")
    only, both = brokers("a"), brokers("a", "b")
    with pytest.raises(BrokerError):
        fail(Reach(only, a_board()), only["a"], error)
    reach = Reach(both, a_board())
    fail(reach, both["a"], error)
    assert here(reach) == ["b"]
    with pytest.raises(BrokerError):  # one that is to end by itself says so at once
        fail(Reach(both, a_board(), is_patient=False), both["a"], error)


def test_a_board_says_since_when_a_loop_waits_for_a_broker(clock: Clock) -> None:
    only, board = brokers("a"), a_board()
    with Reach(only, board).guard(only["a"]):
        assert board.asks_since == clock.now
    assert board.asks_since == 0


@pytest.mark.skipif(sys.platform != "linux", reason="asks for the wakes of a thread")
def test_what_keeps_an_answer_from_being_read_is_not_its_broker() -> None:
    """A job may take the interpreter while the loop waits for an answer, and hold it."""
    only = brokers("a")
    reach = Reach(only, a_board())
    is_asked = Event()

    def hold_the_interpreter() -> None:
        is_asked.wait()
        ctypes.PyDLL(None).usleep(3_000_000)

    holder = Thread(target=hold_the_interpreter)
    holder.start()
    with reach.guard(only["a"]):
        is_asked.set()
        time.sleep(0.05)  # what a broker takes for its answer
    holder.join()
    assert reach.waited < 1.5

    reach = Reach(only, a_board())
    with reach.guard(only["a"]):
        time.sleep(0.7)  # it takes longer
    assert reach.waited >= 0.7
