"""What a service asks of its own transactions, so that one stopped in the middle holds nobody up for long."""

from __future__ import annotations

from collections.abc import Collection

from .limits import Limits, limit_transactions
from .lines import limit_lines, release_lines

LONGEST_WAIT = 5.0  # seconds for a lock; then the transaction is tried again later


def limit_own_sessions(databases: Collection[str], lease: float) -> None:
    """Limit the transactions of the calling thread; tasks have connections of their own, in other threads.

    Nothing stays on a session: the next transaction on it may be anybody's.
    """
    limit_transactions(databases, Limits(idle=lease, wait=min(LONGEST_WAIT, lease / 2)))
    limit_lines(databases, max(lease / 3, min(LONGEST_WAIT, lease / 2) + 1))  # longer than the wait for a lock


def unlimit_sessions() -> None:
    """The opposite, for who goes on living after having been one."""
    limit_transactions((), None)
    release_lines()
