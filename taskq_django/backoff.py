"""How long a failed job waits before its next try, and how long we do before we ask again what did not answer."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import timedelta

LONGEST_PAUSE = 3.0  # seconds; after so long at most we see that something is back
# Nobody needs a longer one, and some databases cannot add more to a date.
LONGEST_DELAY = 36_500 * 86400.0  # seconds; what is longer is taken for this


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with full jitter (each wait is drawn between 0 and the exponential value).

    Full jitter spreads jobs that failed together, and costs less work in all than any other
    (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    first: float = 5.0  # seconds before the second try
    factor: float = 2.0
    cap: float = 600.0  # seconds
    jitter: bool = True

    def seconds(self, tries: int) -> float:
        """The wait after so many failed tries (1 or more)."""
        # The exponent is bounded so that a thousand tries cannot overflow a float.
        longest = min(self.cap, self.first * self.factor ** min(tries - 1, 64))
        return random.uniform(0, longest) if self.jitter else longest  # noqa: S311 - not for secrets


def wait_after(failures: int, first: float = 0.25, longest: float = LONGEST_PAUSE) -> float:
    """Seconds to wait after so many failures in a row (1 or more), each time twice as long."""
    return float(min(longest, first * 2 ** min(failures - 1, 16)))


def in_seconds(delay: float | timedelta) -> float:
    """A wait as seconds from 0 to LONGEST_DELAY. Raises TypeError for what is neither a number nor a timedelta."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if not isinstance(seconds, (int, float)) or math.isnan(seconds):
        raise TypeError(f"a delay is a number of seconds or a timedelta, not {delay!r}")
    return float(min(max(seconds, 0.0), LONGEST_DELAY))
