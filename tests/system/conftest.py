from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.workers import RealWorker


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
