"""The beat as its supervisor sees it."""

from __future__ import annotations

import multiprocessing
from typing import Any

from taskq_django.worker.beat_process import BeatProcess


def nothing() -> None: ...


def test_a_beat_that_has_ended_does_not_keep_its_supervisor_from_sleeping() -> None:
    starter: Any = None
    beat = BeatProcess("name", starter)
    assert beat.sentinels == []
    beat._process = multiprocessing.get_context("spawn").Process(target=nothing)
    beat._process.start()
    beat._process.join()
    assert beat.sentinels == []
