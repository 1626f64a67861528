"""What a kind of schedule must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


class Kind(ABC):
    """The slots of one schedule: instants in UTC, each later than the one before. Immutable; threads may share it."""

    spec: str  # as it is stored: what was given, in its usual spelling

    @abstractmethod
    def __init__(self, spec: str, zone: ZoneInfo, anchor: datetime) -> None:
        """Raises SpecError. ``anchor``: aware; where an interval begins to count."""

    @abstractmethod
    def next_after(self, moment: datetime) -> datetime | None:
        """The first slot that is later than ``moment`` (aware), in UTC; None when there is none any more."""

    @abstractmethod
    def describe(self) -> str:
        """In words."""

    def lints(self) -> Iterable[str]:
        """What its author may not have meant."""
        return ()

    def note(self, slot: datetime) -> str:
        """What a change of the clocks makes of this slot, in words; "" for nothing."""
        return ""


def in_utc(moment: datetime) -> datetime:
    """Raises ValueError for a naive one: nobody says by whose clocks it is."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone.")
    return moment.astimezone(UTC)
