"""``@task(schedule=cron("0 3 * * *"))``: schedules that are written in code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, Unpack, overload

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
    args: Sequence[Any] = field(default=(), hash=False, repr=False)
    kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
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
            raise SpecError("args", f"args must be a list or a tuple, not of type {type(self.args).__name__}.")
        if not isinstance(self.kwargs, Mapping):
            raise SpecError("kwargs", f"kwargs must be a dict, not of type {type(self.kwargs).__name__}.")
        for name in ("start", "end"):
            moment = getattr(self, name)
            if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):
                raise SpecError(name, f"{name} must be a datetime with a time zone, not {moment!r}.")
        if self.start and self.end and self.end <= self.start:
            raise SpecError("end", "end must be later than start.")

    @property
    def zone_name(self) -> str:
        return self.timezone or default_timezone()


class ScheduleOptions(TypedDict, total=False):
    """The fields of DeclaredSchedule beside when it is due."""

    timezone: str | None
    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    enabled: bool
    queue_name: str
    priority: int | None
    backend: str
    start: datetime | None
    end: datetime | None
    jitter: int
    misfire: Literal["skip", "once", "all"]
    misfire_grace: int
    misfire_cap: int
    overlap: Literal["allow", "skip"]
    expires: int | None
    max_runs: int | None
    note: str


UNITS = ("weeks", "days", "hours", "minutes", "seconds")


def cron(expression: str, **more: Unpack[ScheduleOptions]) -> DeclaredSchedule:
    """Run a task at the times of a cron expression: ``cron("0 9 * * 1-5", timezone="Europe/Berlin")``.

    ``more`` are the other fields of DeclaredSchedule: name, args, kwargs, queue_name, priority, backend, start,
    end, jitter, misfire, misfire_grace, misfire_cap, overlap, expires, max_runs, note, enabled. Raises SpecError.
    """
    _refuse_unknown("cron", more, ())
    return DeclaredSchedule(kind="cron", spec=expression, **more)


# At least one of the units, and any of those after it.
@overload
def every(
    interval: timedelta,
    *,
    weeks: int = ...,
    days: int = ...,
    hours: int = ...,
    minutes: int = ...,
    seconds: int = ...,
    **more: Unpack[ScheduleOptions],
) -> DeclaredSchedule: ...
@overload
def every(
    *,
    weeks: int,
    days: int = ...,
    hours: int = ...,
    minutes: int = ...,
    seconds: int = ...,
    **more: Unpack[ScheduleOptions],
) -> DeclaredSchedule: ...
@overload
def every(
    *, days: int, hours: int = ..., minutes: int = ..., seconds: int = ..., **more: Unpack[ScheduleOptions]
) -> DeclaredSchedule: ...
@overload
def every(
    *, hours: int, minutes: int = ..., seconds: int = ..., **more: Unpack[ScheduleOptions]
) -> DeclaredSchedule: ...
@overload
def every(*, minutes: int, seconds: int = ..., **more: Unpack[ScheduleOptions]) -> DeclaredSchedule: ...
@overload
def every(*, seconds: int, **more: Unpack[ScheduleOptions]) -> DeclaredSchedule: ...
def every(
    interval: timedelta | None = None,
    *,
    weeks: int = 0,
    days: int = 0,
    hours: int = 0,
    minutes: int = 0,
    seconds: int = 0,
    **more: Unpack[ScheduleOptions],
) -> DeclaredSchedule:
    """Run a task every so often: ``every(minutes=5)``. The rest as for ``cron``. Raises SpecError."""
    _refuse_unknown("every", more, UNITS)
    if not isinstance(interval, timedelta | None):
        raise SpecError("spec", f"every() takes units, as every(minutes=5), or a timedelta, not {interval!r}.")
    given = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds) + (interval or timedelta())
    total = given.total_seconds()
    if total != int(total) or total < 1:
        raise SpecError("spec", f"every() needs whole seconds, at least one, not {given}.")
    return DeclaredSchedule(kind="interval", spec=interval_text(int(total)), **more)


def _refuse_unknown(function: str, given: Mapping[str, Any], units: Sequence[str]) -> None:
    known = {*ScheduleOptions.__annotations__, *units}
    for name in given.keys() - known:
        raise TypeError(f"{function}() has no option {name!r}. {did_you_mean(name, known)}".rstrip())
