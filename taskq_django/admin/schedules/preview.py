"""What a schedule will do, for the panel beside its form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _t

from ...models import Schedule
from ...models.moments import aware
from ...schedules import SpecError, read_kind
from ...schedules.preview import next_runs, offset_text
from .. import display


@dataclass(frozen=True)
class Preview:
    """``error`` or the rest."""

    zone: str = ""
    text: str = ""
    lints: tuple[str, ...] = ()
    rows: Sequence[dict[str, Any]] = ()
    error: str = ""
    your_zone: str = field(default_factory=timezone.get_current_timezone_name)


def preview_of(
    kind: str, spec: str, zone: str, now: datetime, *, anchor: Any = None, start: Any = None, end: Any = None
) -> Preview:
    """``now`` aware; ``anchor``, ``start`` and ``end`` as the ORM gives them."""
    try:
        begin = (aware(start or anchor) or now).replace(microsecond=0)
        read = read_kind(kind, spec, zone, begin)
        runs = next_runs(read, zone, now, start=aware(start), end=aware(end))
    except SpecError as error:
        return Preview(error=str(error))
    except OverflowError:
        return Preview(error=_t("This is beyond the times that there are."))
    if not runs:
        return Preview(error=_t("There is no run to come."), text=read.describe(), zone=zone)
    rows = [
        {
            "run": run,
            "local": _shown(run.local),
            "offset": offset_text(run.local),
            "yours": _shown(timezone.localtime(run.slot)),
            "until": display.span(run.slot - now),
        }
        for run in runs
    ]
    return Preview(zone=zone, text=read.describe(), lints=tuple(read.lints()), rows=rows)


def preview_of_row(schedule: Schedule, now: datetime) -> Preview:
    return preview_of(
        schedule.kind,
        schedule.spec,
        schedule.timezone,
        now,
        anchor=None if schedule._state.adding else schedule.created_at,
        start=schedule.start_at,
        end=schedule.end_at,
    )


def _shown(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M:%S}".removesuffix(":00")
