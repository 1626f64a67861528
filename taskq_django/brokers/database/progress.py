"""How the progress of running jobs gets into the store: by the loop, beside the transactions of the tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ...exceptions import BrokerUnavailable
from ...jobs import Claim, Progress
from ...store.dialects.progress import is_one_statement, waiting_for_nobody, write_progress
from .faults import lost_a_race


def note(
    said: Sequence[tuple[Claim, Progress]], own: Callable[..., Any], connection: BaseDatabaseWrapper, *, waits: bool
) -> bool:
    """As ``Broker.note_progress`` has it. ``own``: runs a transaction of the broker's."""
    try:
        with nullcontext() if waits else waiting_for_nobody(connection):
            own(lambda cursor: write_progress(cursor, said), writes=not is_one_statement(connection), is_loops=waits)
    except BrokerUnavailable as error:
        if waits or error.__cause__ is None or not lost_a_race(error.__cause__):  # type: ignore[arg-type]
            raise
        return False
    return True
