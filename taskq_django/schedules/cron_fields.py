"""The five fields of a cron expression: what may be written in them, and which numbers it means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from ..exceptions import SpecError

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
LONGEST = 100  # characters

_ITEM = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d{1,3}))?")
_BY_CHANCE = re.compile(r"(?<![a-z])[hr](?![a-z])", re.IGNORECASE)
_NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    low: int
    high: int
    whole: str  # what its numbers begin anew with
    names: Mapping[str, int] = field(default_factory=dict)
    special: re.Pattern[str] = _NOTHING  # an item that is no set of numbers: croniter reads it
    examples: str = ""  # of these
    highest: int = 0  # 7, which is Sunday; else ``high``

    @property
    def size(self) -> int:
        return self.high - self.low + 1

    @property
    def is_of_days(self) -> bool:
        return self.whole in {"month", "week"}

    def written_out(self, word: str) -> str:
        """The numbers that a field means, as a list. Raises SpecError.

        croniter reads 5-5, 7-0, 22-2/3 and 59/7 in ways of its own, and some of them in another way in each version.
        """
        if _BY_CHANCE.search(word):
            raise self._error(word, "H and R, a time by chance, are not taken")
        if word == "*" or (word == "?" and self.is_of_days):
            return "*"
        numbers: set[int] = set()
        others = []
        for item in word.split(","):
            if match := self.special.fullmatch(item.lower()):
                for number in filter(None, match.groups()):
                    self._number(number)
                others.append(item.lower())
            else:
                numbers.update(self.numbers(item))
        if len(numbers) == self.size and not others and not self.is_of_days:
            return "*"
        return ",".join([*map(str, sorted(numbers)), *others])

    def numbers(self, item: str) -> list[int]:
        """Of ``3``, ``*/5``, ``1-5``, ``22-2/2``; in the order in which they come."""
        match = _ITEM.fullmatch(item)
        if match is None or item.startswith("*-"):
            raise self._error(item, "it takes numbers, ranges and steps with commas between them: 1-5,9 or */5")
        begin, end, step = match.groups()
        if step is not None and int(step) == 0:
            raise self._error(item, "a step is 1 or more")
        first = self.low if begin == "*" else self._number(begin)
        last = first if begin != "*" and not step else self.high
        if end:
            last = self._number(end)
            if last in {first, first - self.size}:
                raise self._error(item, f"it is a range of one; write {begin}")
        if last < first:  # round the end: 22-2
            last += self.size
        return [self.low + (n - self.low) % self.size for n in range(first, last + 1, int(step or 1))]

    def _number(self, word: str) -> int:
        number = int(word) if word.isdecimal() else self.names.get(word.lower(), -1)
        if number < 0:
            known = f", names ({', '.join(self.names)})" if self.names else ""
            raise self._error(word, f"it takes numbers{known}{self.examples}")
        highest = self.highest or self.high
        if not self.low <= number <= highest or len(word) > 3:
            raise self._error(word, f"it is out of range, from {self.low} to {highest}")
        return number

    def _error(self, word: str, reason: str) -> SpecError:
        return SpecError("spec", f"{shortened(word)} is no {self.name}: {reason}.")

    def lints(self, word: str) -> Iterator[str]:
        for item in word.split(","):
            begin, slash, step = item.partition("/")
            if not slash:
                continue
            if len(self.numbers(item)) == 1:
                yield _("%(item)s: a step of %(step)s leaves the first value only.") % {"item": item, "step": step}
            elif begin == "*" and self.size % int(step):
                yield _begun_anew(self.whole) % item


def _begun_anew(whole: str) -> str:
    return {
        "hour": _("%s begins anew each hour, with a shorter last step."),
        "day": _("%s begins anew each day, with a shorter last step."),
        "week": _("%s begins anew each week, with a shorter last step."),
        "month": _("%s begins anew each month, with a shorter last step."),
        "year": _("%s begins anew each year, with a shorter last step."),
    }[whole]


def _numbered(names: str, first: int) -> dict[str, int]:
    return {name: number for number, name in enumerate(names.split(), first)}


FIELDS = (
    Field("minute", 0, 59, "hour"),
    Field("hour", 0, 23, "day"),
    Field(
        "day of month",
        1,
        31,
        "month",
        special=re.compile(r"l|(\d+)w|w(\d+)"),
        examples=", L (the last day) and 15W (the weekday nearest the 15th)",
    ),
    Field("month", 1, 12, "year", _numbered("jan feb mar apr may jun jul aug sep oct nov dec", 1)),
    Field(
        "day of week",
        0,
        6,
        "week",
        _numbered("sun mon tue wed thu fri sat", 0),
        special=re.compile(r"l([0-7])|(\w+)#[1-5]"),
        examples=", L5 (the last Friday) and 5#2 (the second)",
        highest=7,
    ),
)
_FIVE = ", ".join(each.name for each in FIELDS)


def guarded(spec: str) -> str:
    """The expression in its usual spelling; its fields are not read yet. Raises SpecError."""
    if not isinstance(spec, str) or not spec.strip():
        raise SpecError("spec", f"A cron expression has five fields: {_FIVE}.")
    if len(spec) > LONGEST:
        raise SpecError("spec", f"A cron expression has at most {LONGEST} characters, not {len(spec)}.")
    if not spec.isascii() or not spec.isprintable():
        raise SpecError("spec", "A cron expression is one line of plain ASCII characters, without tabs.")
    words = spec.split()
    if words[0].startswith("@"):
        alias = " ".join(words).lower()
        if alias not in ALIASES:
            raise SpecError("spec", f"{shortened(alias)} is none of {', '.join(ALIASES)}.")
        return alias
    if len(words) != len(FIELDS):
        seconds = " Seconds are not a field: every(seconds=…) or kind interval has them." if len(words) > 5 else ""
        given = f"{len(words)} field" + "s" * (len(words) != 1)
        raise SpecError("spec", f"{shortened(spec)} has {given}; it must have five: {_FIVE}.{seconds}")
    return " ".join(words)


def shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
