"""Reads how far jobs have said that they are."""

from __future__ import annotations

from collections.abc import Iterable

from ..jobs import Progress
from ..models import JobProgress


def read_progress(ids: Iterable[str], using: str) -> dict[str, Progress]:
    """Of those jobs (UUID text) that have said something. One query."""
    rows = JobProgress.objects.using(using).filter(job_id__in=list(ids))
    return {
        str(id_): Progress(_plain(done), None if total is None else _plain(total), text, updated_at)
        for id_, done, total, text, updated_at in rows.values_list("job_id", "done", "total", "text", "updated_at")
    }


def _plain(count: float) -> float:
    """A whole number as the int that it most likely was."""
    return int(count) if count.is_integer() else count
