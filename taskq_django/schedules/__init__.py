"""When a schedule's slots are: pure time maths, no database and no clock. A kind of schedule is one file."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from ..exceptions import SpecError as SpecError
from .base import Kind as Kind
from .cron import Cron
from .interval import Interval
from .once import Once
from .zones import read_zone as read_zone

KINDS: dict[str, type[Kind]] = {"cron": Cron, "interval": Interval, "once": Once}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_kind(kind: str, spec: str, timezone: str, anchor: datetime = EPOCH) -> Kind:
    """The slots of a schedule. Raises SpecError, which names the field that is wrong.

    ``anchor`` (aware): the moment that an interval counts from.
    """
    for field, value in {"kind": kind, "spec": spec, "timezone": timezone}.items():
        if not isinstance(value, str):
            raise SpecError(field, f"The {field} of a schedule is text, not {type(value).__name__}.")
    return _read_kind(kind, spec, timezone, anchor)


@lru_cache(maxsize=4096)
def _read_kind(kind: str, spec: str, timezone: str, anchor: datetime) -> Kind:
    if kind not in KINDS:
        raise SpecError("kind", f"There is no kind {kind[:40]!r}: it is one of {', '.join(KINDS)}.")
    return KINDS[kind](spec, read_zone(timezone), anchor)
