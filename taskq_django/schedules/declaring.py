"""``@task(schedule=cron("0 3 * * *"))``: schedules that are written in code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..exceptions import SpecError, did_you_mean
from . import read_kind
from .interval import interval_text
from .zones import default_timezone


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredSchedule:
    """What ``cron`` and ``every`` make; a beat writes it to a row."""

    kind: str
    spec: str
    timezone: str | None = None  # None: the setting TIME_ZONE
    name: str = ""  # "": the path of the task
    args: Sequence[Any] = field(default=(), hash=False)
    kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    enabled: bool = True
    queue_name: str = ""
    priority: int | None = None
    backend: str = ""  # alias in TASKS; "": that of the task
    start: datetime | None = None  # aware
    end: datetime | None = None
    jitter: int = 0  # seconds
    misfire: str = "once"
    misfire_grace: int = 86_400  # seconds
    misfire_cap: int = 100
    overlap: str = "allow"
    expires: int | None = None  # seconds
    max_runs: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        """Raises SpecError where the code is wrong, and not when a beat starts."""
        read_kind(self.kind, self.spec, self.timezone or "UTC")
        for name, allowed in (("misfire", ("skip", "once", "all")), ("overlap", ("allow", "skip"))):
            if getattr(self, name) not in allowed:
                raise SpecError(name, f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}.")
        if isinstance(self.args, (str, bytes)) or not isinstance(self.args, Sequence):
            raise SpecError("args", f"args must be a list or a tuple, not {self.args!r}.")
        if not isinstance(self.kwargs, Mapping):
            raise SpecError("kwargs", f"kwargs must be a dict, not {self.kwargs!r}.")
        for name in ("start", "end"):
            moment = getattr(self, name)
            if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):
                raise SpecError(name, f"{name} must be a datetime with a time zone, not {moment!r}.")
        if self.start and self.end and self.end <= self.start:
            raise SpecError("end", "end must be later than start.")

    @property
    def zone_name(self) -> str:
        return self.timezone or default_timezone()


def cron(expression: str, *, timezone: str | None = None, **more: Any) -> DeclaredSchedule:
    """Run a task at the times of a cron expression: ``cron("0 9 * * 1-5", timezone="Europe/Berlin")``.

    ``more`` are the other fields of DeclaredSchedule: name, args, kwargs, queue_name, priority, backend, start,
    end, jitter, misfire, misfire_grace, misfire_cap, overlap, expires, max_runs, note, enabled. Raises SpecError.
    """
    _refuse_unknown("cron", more)
    return DeclaredSchedule(kind="cron", spec=expression, timezone=timezone, **more)


def every(
    interval: timedelta | None = None,
    *,
    weeks: int = 0,
    days: int = 0,
    hours: int = 0,
    minutes: int = 0,
    seconds: int = 0,
    **more: Any,
) -> DeclaredSchedule:
    """Run a task every so often: ``every(minutes=5)``. The rest as for ``cron``. Raises SpecError."""
    _refuse_unknown("every", more)
    if not isinstance(interval, timedelta | None):
        raise SpecError("spec", f"every() takes units, as every(minutes=5), or a timedelta, not {interval!r}.")
    given = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds) + (interval or timedelta())
    total = given.total_seconds()
    if total != int(total) or total < 1:
        raise SpecError("spec", f"every() needs whole seconds, at least one, not {given}.")
    return DeclaredSchedule(kind="interval", spec=interval_text(int(total)), **more)


def _refuse_unknown(function: str, given: Mapping[str, Any]) -> None:
    known = DeclaredSchedule.__dataclass_fields__.keys() - {"kind", "spec"}
    for name in given.keys() - known:
        raise TypeError(f"{function}() has no option {name!r}. {did_you_mean(name, known)}".rstrip())
