"""The first thing a process does that was spawned and not forked: there Django is not set up yet.

Imports nothing of ours at the top, because that needs Django's models.
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .blackboard import Blackboard
    from .options import WorkerOptions


def run_spawned(options: dict[str, Any], worker_id: str, board: Blackboard, lifeline: Connection) -> None:
    """Set Django up, then live as a forked process does; never returns."""
    asked = _set_up(options)
    from .process import run_child

    run_child(asked, worker_id, board, lifeline, None)


def run_spawned_beat(options: dict[str, Any], lifeline: Connection) -> None:
    """The same for the beat."""
    asked = _set_up(options)
    from .beat_process import run_beat

    run_beat(asked, lifeline, None)


def _set_up(options: dict[str, Any]) -> WorkerOptions:
    from . import listening

    listening.note()  # the project may start threads, and those what they want
    import django

    django.setup()
    from .logs import configure_logs
    from .options import WorkerOptions

    asked = WorkerOptions(**options)
    configure_logs(asked.log_format, asked.verbosity)
    return asked
