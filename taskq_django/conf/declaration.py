"""How a setting is declared, and how a section of them is read; ``conf`` has the settings themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from ..exceptions import counted, did_you_mean


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the settings. ``str()`` is the whole sentence with its remedy."""

    where: str
    message: str
    hint: str
    id: str  # of the system check, without the label

    def __str__(self) -> str:
        return f"{self.where} {self.message} {self.hint}".rstrip()

    @property
    def is_error(self) -> bool:
        return self.id.startswith("E")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """The declaration of one setting. ``minimum`` and ``maximum`` of a text are lengths."""

    default: Any
    doc: str
    has_flag: bool = False
    short: str = ""  # of the flag, as -p
    minimum: float = 0
    maximum: float = 1_000_000
    choices: tuple[str, ...] = ()
    unit: str = ""  # "s" of each float
    check: Callable[[str], str | None] | None = None  # of a text, or of each text in a list
    # Added by options(), from the annotated field:
    name: str = ""
    kind: type = str  # int, float, bool, str, tuple or Mapping
    optional: bool = False

    def read(self, value: object) -> Any:
        """The value as its field has it; raises ValueError, whose text is the end of a sentence."""
        if value is None and self.optional:
            return None
        if isinstance(value, timedelta) and self.kind is float:
            value = value.total_seconds()
        if self.kind is tuple and isinstance(value, (list, tuple)):
            return self._read_list(value)
        if self.kind is Mapping and isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return dict(value)
        accepted = (int, float) if self.kind is float else (self.kind,)
        if (
            not isinstance(value, accepted)
            or self.kind is Mapping
            or (isinstance(value, bool) and self.kind is not bool)
        ):
            raise ValueError(f"is {described(value)}; {self.expected}")
        if isinstance(value, str):
            return self._read_text(value)
        # `not (a <= b)`, because NaN compares False with everything.
        if isinstance(value, (int, float)) and not self.minimum <= value <= self.maximum:
            raise ValueError(f"is {shown(value)}; {self.expected}")
        return self.kind(value)

    def from_text(self, text: str) -> Any:
        """Read an argument of the command line, a list separated by commas; raises as read()."""
        if self.kind is tuple:
            return self.read([item.strip() for item in text.split(",")])
        if self.kind not in (int, float):
            return self.read(text)
        try:
            number = self.kind(text)
        except ValueError:
            raise ValueError(f"is {shown(text)}; {self.expected}") from None
        return self.read(number)

    @property
    def flag(self) -> str:
        """On the command line, as ``--connect-timeout``; "" for none."""
        return f"--{self.name.replace('_', '-')}" if self.has_flag else ""

    @property
    def expected(self) -> str:
        """What a right value is: ``it must be an int from 1 to 1000``."""
        span = f"from {self.minimum:.15g} to {self.maximum:.15g}"
        wanted = {
            int: f"an int {span} {self.unit}",
            float: f"a number {span}, in seconds, or a timedelta",
            bool: "True or False",
            str: f"a str of {self.minimum:.15g} to {self.maximum:.15g} characters",
            tuple: "a list of non-empty str",
            Mapping: "a dict whose keys are str",
        }[self.kind]
        if self.choices:
            wanted = "one of " + listed(self.choices)
        return f"it must be {wanted.rstrip()}{' or None' if self.optional else ''}."

    @property
    def default_text(self) -> str:
        """The default as people read it: ``25 s``."""
        if isinstance(self.default, tuple):
            return f"[{listed(self.default)}]"
        number = isinstance(self.default, (int, float)) and self.kind is not bool
        if number and self.unit == "s":
            return spelled_span(self.default)
        return f"{self.default:.15g} {self.unit}".rstrip() if number else repr(self.default)

    def _read_text(self, value: str) -> str:
        if self.check and (problem := self.check(value)):
            raise ValueError(f"is wrong: {problem}.")
        if (self.choices and value not in self.choices) or not self.minimum <= len(value) <= self.maximum:
            raise ValueError(f"is {shown(value)}; {self.expected}")
        return value

    def _read_list(self, values: Iterable[object]) -> tuple[str, ...]:
        seen: list[str] = []
        for value in values:
            if not isinstance(value, str):
                raise ValueError(f"contains {described(value)}; {self.expected}")
            if value in seen:
                raise ValueError(f"names {shown(value)} twice.")
            seen.append(self._read_text(value))
        return tuple(seen)


def option(default: Any, *, secret: bool = False, **declaration: Any) -> Any:
    """Declare a setting as a field of a section; the keywords are the fields of Option.

    A ``secret`` one stays out of the section's repr.
    """
    metadata = {"option": Option(default=default, **declaration)}
    if isinstance(default, dict):  # each section has one of its own
        return field(default_factory=default.copy, repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


def options(section: type[Any]) -> tuple[Option, ...]:
    """The settings of a section, in the order of their declaration."""
    hints = get_type_hints(section)
    found = []
    for member in fields(section):
        kinds = [kind for kind in get_args(hints[member.name]) if kind is not NoneType]
        optional = NoneType in get_args(hints[member.name])
        kind = kinds[0] if optional else hints[member.name]
        kind = get_origin(kind) or kind
        declared = member.metadata["option"]
        unit = "s" if kind is float else declared.unit
        found.append(replace(declared, name=member.name, kind=kind, optional=optional, unit=unit))
    return tuple(found)


def read_section(
    section: type[Any], given: object, where: str, case: Callable[[str], str] = str.upper
) -> tuple[dict[str, Any], list[Problem]]:
    """The values of the right keys, by field name, and what is wrong with the others.

    ``where`` leads every problem: ``TASKQ["WORKER"]``. ``case`` makes a key of a field's name.
    """
    if not isinstance(given, Mapping):
        return {}, [Problem(where, f"is {described(given)}; it must be a dict.", "", "E001")]
    values: dict[str, Any] = {}
    problems = []
    declared = {case(each.name): each for each in options(section)}
    for key, value in given.items():
        if key not in declared:
            problems.append(unknown_key(where, key, declared, case))
            continue
        try:
            values[declared[key].name] = declared[key].read(value)
        except ValueError as error:
            about = declared[key]
            hint = f"{about.doc} Default: {about.default_text}."
            problems.append(Problem(f'{where}["{key}"]', str(error), hint, "E003"))
    return values, problems


def unknown_key(where: str, key: object, valid: Iterable[str], case: Callable[[str], str] = str.upper) -> Problem:
    """The problem of a key that is not in ``valid``, with the nearest one that is."""
    valid = list(valid)
    near = did_you_mean(case(key), valid) if isinstance(key, str) else ""
    return Problem(where, f"has no key {shown(key)}. {near}".rstrip(), f"Its keys are {listed(valid)}.", "E002")


def spelled_span(seconds: float) -> str:
    """As people say it, where that is exact: ``14 days``, ``25 s``."""
    for size, unit in ((86_400, "day"), (3600, "hour")):
        if seconds >= size and seconds % size == 0:
            return counted(int(seconds // size), unit)
    return f"{seconds:.15g} s"


def listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def shown(value: object) -> str:
    """A wrong value for an error message: one short line, and nothing from inside a container."""
    if isinstance(value, str):
        if "://" in value:  # what follows may hold a password
            value = value.partition("://")[0] + "://…"
        text = repr(value[:60])[1:-1]
        return f'"{text}"' if value == value[:60] else f'"{text}…"'
    if isinstance(value, int) and not -(10**18) < value < 10**18:
        return "a number of more than 18 digits"  # str() of a huge int raises
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    return f"a {type(value).__name__}"


def described(value: object) -> str:
    """As shown(), with the type where that does not tell it: ``"4" (str)``."""
    plain = value is not None and isinstance(value, (str, int, float))
    return f"{shown(value)} ({type(value).__name__})" if plain else shown(value)
