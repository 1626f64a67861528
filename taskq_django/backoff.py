"""How long a failed job waits before its next try."""

from __future__ import annotations

import random
from dataclasses import dataclass


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
