"""How long a failed job waits before its next try."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import timedelta

LONGEST_DELAY = 10 * 365 * 86400.0  # seconds; what is longer is taken for this


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


def in_seconds(delay: float | timedelta) -> float:
    """A wait as seconds from 0 to LONGEST_DELAY. Raises TypeError for what is neither a number nor a timedelta."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if not isinstance(seconds, (int, float)) or math.isnan(seconds):
        raise TypeError(f"a delay is a number of seconds or a timedelta, not {delay!r}")
    return float(min(max(seconds, 0.0), LONGEST_DELAY))
