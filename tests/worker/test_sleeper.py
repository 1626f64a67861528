"""What wakes a loop."""

from __future__ import annotations

import signal
import time

from taskq_django.sleeper import Sleeper


def test_a_wake_up_before_the_sleep_cuts_it_short() -> None:
    sleeper = Sleeper()
    sleeper.wake()
    begun = time.monotonic()
    sleeper.sleep(60)
    assert time.monotonic() - begun < 30
    sleeper.close()


def test_a_signal_that_comes_late_raises_nothing() -> None:
    sleeper = Sleeper()
    before = signal.signal(signal.SIGTERM, lambda *_: sleeper.wake())
    try:
        sleeper.close()
        signal.raise_signal(signal.SIGTERM)  # a second one, while the process ends
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_has_to_be_asked_ends_a_sleep_once_it_says_yes() -> None:
    sleeper = Sleeper()
    answers = iter([False, False, True])
    begun = time.monotonic()
    sleeper.sleep(60, glance=0.001, rang=lambda: next(answers))
    assert time.monotonic() - begun < 30
    assert next(answers, None) is None
    sleeper.close()


def test_a_sleep_that_asks_is_woken_as_any() -> None:
    sleeper = Sleeper()
    asked: list[bool] = []

    def rang() -> bool:
        asked.append(sleeper.is_asleep)
        sleeper.wake()
        return False

    sleeper.sleep(60, glance=0.001, rang=rang)
    assert asked == [True]
    sleeper.close()
