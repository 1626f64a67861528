"""The first thing a process does that was spawned and not forked: there Django is not set up yet.

Imports nothing of ours at the top, because that needs Django's models.
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any


def run_spawned(life: str, options: dict[str, Any], lifeline: Connection, *given: Any) -> None:
    """Set Django up, then live as a forked process does; never returns."""
    from . import listening

    listening.note()  # before the project can start threads
    import django

    django.setup()
    from .logs import configure_logs
    from .options import WorkerOptions
    from .process import live

    asked = WorkerOptions(**options)
    configure_logs(asked.log_format, asked.verbosity)
    live(life, asked, lifeline, None, *given)
