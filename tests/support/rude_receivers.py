"""An app whose receivers raise what ends a thread."""

from __future__ import annotations

import os

from django.apps import AppConfig
from django.dispatch import Signal

from taskq_django import signals
from taskq_django.compat import task_finished, task_started


def _raise(*args: object, **kwargs: object) -> None:
    raise {"exit": SystemExit(5), "interrupt": KeyboardInterrupt(), "close": GeneratorExit()}[os.environ["RUDE"]]


class Rude(AppConfig):
    name = "tests.support"
    label = "rude"

    def ready(self) -> None:
        for name in os.environ["RUDE_SIGNALS"].split():
            signal: Signal = {"task_started": task_started, "task_finished": task_finished}.get(name) or getattr(
                signals, name
            )
            signal.connect(_raise, weak=False)
