"""Rows that ``Schedule.save`` has not made, or that could not be read, get their slot."""

from __future__ import annotations

from django.db.models import F

from ..models import Schedule
from ..models.moments import database_now
from ..schedules import SpecError
from ..store.connections import own_transaction


def adopt(database: str, limit: int, *, broken_too: bool = False) -> int:
    """Plan rows that have no slot, ``limit`` of them at most; returns how many.

    ``broken_too``: and all that could not be read, for the code may have changed since.
    """
    enabled = Schedule.objects.using(database).filter(enabled=True)
    rows = enabled.filter(next_run_at=None, is_finished=False)
    found = list(rows.filter(broken="")[:limit])
    if broken_too:
        found += rows.exclude(broken="")
    if not found:
        return 0
    now, count = database_now(database), 0
    for row in found:
        reason = row.broken
        try:
            row.plan_from(now)
        except SpecError as error:
            row.broken = str(error)
        else:
            row.broken = reason if row.is_finished else ""
        fields = {name: getattr(row, name) for name in ("next_run_at", "is_finished", "broken")}
        with own_transaction(database):
            count += enabled.filter(pk=row.pk, version=row.version).update(**fields, version=F("version") + 1)
    return count
