"""What a schedule will do, for the panel beside its form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _t
from django.utils.translation import ngettext

from ...models import Schedule
from ...models.moments import aware
from ...schedules import SpecError, read_kind
from ...schedules.preview import next_runs, offset_text
from .. import display
from .clocks import clocks_of, readers_clocks

SHOWN = 10


@dataclass(frozen=True)
class Preview:
    """``error`` or the rest."""

    zone: str = ""
    your_zone: str = ""
    text: str = ""
    lints: tuple[str, ...] = ()
    rows: Sequence[dict[str, Any]] = ()
    zones_differ: bool = False
    error: str = ""


def preview_of(row: Schedule, now: datetime, *, anchor: Any = None) -> Preview:
    """Of what a row would do that is saved at ``now`` (aware). ``anchor``: since when it is there; None: it is new."""
    start, end = aware(row.start_at), aware(row.end_at)
    left = None if row.max_runs is None else max(0, row.max_runs - row.run_count)
    try:
        kind = read_kind(row.kind, row.spec, row.timezone, (start or aware(anchor) or now).replace(microsecond=0))
        runs = next_runs(kind, row.timezone, now, start=start, end=end, count=SHOWN)[:left]
    except SpecError as error:
        return Preview(error=str(error))
    except OverflowError:
        return Preview(error=_t("This is beyond the times that there are."))
    if not runs:
        return Preview(error=_why_none(row, now, left), text=kind.describe())
    clocks, yours = clocks_of(row.kind, row.timezone), readers_clocks()
    rows = [
        {
            "run": run,
            "local": clocks.shows(run.slot),
            "shown": _shown(clocks.shows(run.slot)),
            "offset": offset_text(clocks.shows(run.slot)),
            "yours": _shown(yours.shows(run.slot)),
            "until": display.span(run.slot - now),
        }
        for run in runs
    ]
    return Preview(
        zone=clocks.name,
        your_zone=yours.name,
        text=kind.describe(),
        lints=(*kind.lints(), *_limits(row, len(runs), left)),
        rows=rows,
        zones_differ=not all(clocks.agree(yours, run.slot) for run in runs),
    )


def preview_of_row(row: Schedule, now: datetime) -> Preview:
    return preview_of(row, now, anchor=None if row._state.adding else row.created_at)


def preview_asked_for(given: Mapping[str, str], now: datetime) -> Preview | None:
    """Of what a form says so far; None while it says nothing. What cannot be read is left out: the form says so."""
    row = Schedule(
        kind=given.get("kind", ""),
        spec=given.get("spec", ""),
        timezone=given.get("timezone", ""),
        start_at=_moment(given.get("start", "")),
        end_at=_moment(given.get("end", "")),
        max_runs=_whole(given.get("max_runs", "")),
        run_count=_whole(given.get("ran", "")) or 0,
        jitter=_whole(given.get("jitter", "")) or 0,
        enabled=given.get("enabled") != "false",
    )
    return preview_of(row, now, anchor=_moment(given.get("anchor", ""))) if row.spec.strip() else None


def _why_none(row: Schedule, now: datetime, left: int | None) -> str:
    if left == 0:
        return ngettext(
            "There is no run to come: its only run was made.",
            "There is no run to come: all of its %(count)d runs were made.",
            row.max_runs or 0,
        ) % {"count": row.max_runs}
    if row.end_at is not None and aware(row.end_at) <= now:
        return _t("There is no run to come: its end is past, %s.") % display.exactly(row.end_at)
    if row.kind == "once":
        return _t("There is no run to come: this moment is past, or not between its start and its end.")
    return _t("There is no run to come.")


def _limits(row: Schedule, shown: int, left: int | None) -> Iterator[str]:
    """What else decides about the runs that are shown."""
    if not row.enabled:
        yield _t("It is disabled: these are the runs that it would have.")
    if row.jitter:
        yield _t("Each run is put off by a random part of %s.") % display.span(timedelta(seconds=row.jitter))
    if row.max_runs is not None and shown == left:
        yield ngettext(
            "It runs %(count)d time in all: these are the last runs.",
            "It runs %(count)d times in all: these are the last runs.",
            row.max_runs,
        ) % {"count": row.max_runs}
    elif row.end_at is not None and shown < SHOWN:
        yield _t("It ends %s: these are the last runs.") % display.exactly(row.end_at)


def _shown(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M:%S}".removesuffix(":00")


def _moment(text: str) -> Any:
    try:
        return parse_datetime(text.strip().replace(" ", "T")) if text.strip() else None
    except ValueError:
        return None


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None
