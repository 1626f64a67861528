from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ledger import Ledger
from tests.support.workers import ROOT, RealWorker


@pytest.fixture
def start_worker(transactional_db: None) -> Iterator[Callable[..., RealWorker]]:
    """Starts real workers; whatever is left of them when the test ends is killed."""
    started: list[RealWorker] = []

    def start(*flags: str, **options: object) -> RealWorker:
        worker = RealWorker(*flags, **options)  # type: ignore[arg-type]
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def settings_with(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """The environment of workers with these settings on top of the tests' own."""

    def make(**settings: Any) -> dict[str, str]:
        name = f"settings_{len(list(tmp_path.glob('settings_*.py')))}"
        lines = ["from tests.settings import *", *(f"{key} = {value!r}" for key, value in settings.items())]
        (tmp_path / f"{name}.py").write_text("\n".join(lines))
        return {"DJANGO_SETTINGS_MODULE": name, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}

    return make


@pytest.fixture
def hasty(settings_with: Callable[..., dict[str, str]]) -> dict[str, str]:
    """Workers that count each other as lost after less than a second."""
    return settings_with(TASKQ={"WORKER": {"HEARTBEAT": 0.1, "LEASE": 0.8, "MAINTENANCE": 0.1}})
