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
