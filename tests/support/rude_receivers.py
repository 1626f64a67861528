"""An app whose receivers raise what ends a thread: what RUDE names, or what is written in the file of that name."""

from __future__ import annotations

import os
from pathlib import Path

from django.apps import AppConfig
from django.dispatch import Signal

from taskq_django import signals
from taskq_django.compat import task_finished, task_started

RAISED: dict[str, BaseException] = {
    "exit": SystemExit(5),
    "interrupt": KeyboardInterrupt(),
    "close": GeneratorExit(),
}


def _raise(*args: object, **kwargs: object) -> None:
    given = os.environ["RUDE"]
    if error := RAISED.get(Path(given).read_text() if "/" in given else given):
        raise error


class Rude(AppConfig):
    name = "tests.support"
    label = "rude"

    def ready(self) -> None:
        for name in os.environ["RUDE_SIGNALS"].split():
            signal: Signal = {"task_started": task_started, "task_finished": task_finished}.get(name) or getattr(
                signals, name
            )
            signal.connect(_raise, weak=False)
