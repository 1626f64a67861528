"""The first thing a process does that was spawned and not forked: there Django is not set up yet.

Imports nothing of ours at the top, because that needs Django's models.
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .options import WorkerOptions


def run_spawned(life: str, options: dict[str, Any], lifeline: Connection, *given: Any) -> None:
    """Set Django up, then live as a forked process does, by this function of ``process``; never returns."""
    asked = _set_up(options)
    from . import process

    getattr(process, life)(asked, lifeline, None, *given)


def _set_up(options: dict[str, Any]) -> WorkerOptions:
    from . import listening

    listening.note()  # before the project can start threads
    import django

    django.setup()
    from .logs import configure_logs
    from .options import WorkerOptions

    asked = WorkerOptions(**options)
    configure_logs(asked.log_format, asked.verbosity)
    return asked
