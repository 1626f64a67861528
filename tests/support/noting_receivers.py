"""An app whose receivers write what they are told, a line a signal, into the file that NOTED names.

With NOTED_HANGS set, who hears of a rescued job never comes back; with NOTED_DIES, it ends its process.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from django.apps import AppConfig

from taskq_django import signals
from taskq_django.exceptions import WorkerLost

HEARD = ("run_failed", "run_retried", "after_run", "result_recorded")


def _receiver(name: str) -> Any:
    def note(sender: Any, signal: Any, **given: Any) -> None:
        error = given.get("exception")
        outcome = given["outcome"]
        said = f"{name} {outcome.claim.job.id} {type(outcome).__name__} {type(error).__name__} {sender.__name__}\n"
        with Path(os.environ["NOTED"]).open("a") as file:
            file.write(said)
        if isinstance(error, WorkerLost):
            if os.environ.get("NOTED_HANGS"):
                time.sleep(3600)
            if os.environ.get("NOTED_DIES"):
                os._exit(9)

    return note


class Noting(AppConfig):
    name = "tests.support"
    label = "noting"

    def ready(self) -> None:
        for name in HEARD:
            getattr(signals, name).connect(_receiver(name), weak=False)
