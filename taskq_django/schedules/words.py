"""What is told to people of moments, in the language of who reads it."""

from __future__ import annotations

import calendar
import re
from datetime import datetime
from functools import cache
from pathlib import Path

from django.utils import dateformat
from django.utils.dates import MONTHS, WEEKDAYS
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

ENGLISH = "en_US"


def moment_in_words(wall: datetime) -> str:
    time = wall.strftime("%H:%M:%S").removesuffix(":00")
    return _("Once, on %(day)s at %(time)s") % {"day": dateformat.format(wall, _("l, j F Y")), "time": time}


def interval_in_words(parts: list[tuple[int, str]]) -> str:
    """``parts``: each a number and its unit, as ``interval`` spells them."""
    if len(parts) == 1 and parts[0][0] == 1:
        return _EVERY[parts[0][1]]()
    return _("Every %s") % " ".join(_LENGTHS[unit](number) % {"n": number} for number, unit in parts)


# A call each, because a tool looks for the texts in calls.
_EVERY = {
    "week": lambda: _("Every week"),
    "day": lambda: _("Every day"),
    "hour": lambda: _("Every hour"),
    "minute": lambda: _("Every minute"),
    "second": lambda: _("Every second"),
}
_LENGTHS = {
    "week": lambda n: ngettext("%(n)d week", "%(n)d weeks", n),
    "day": lambda n: ngettext("%(n)d day", "%(n)d days", n),
    "hour": lambda n: ngettext("%(n)d hour", "%(n)d hours", n),
    "minute": lambda n: ngettext("%(n)d minute", "%(n)d minutes", n),
    "second": lambda n: ngettext("%(n)d second", "%(n)d seconds", n),
}


def in_a_gap(missed: datetime, runs: datetime) -> str:
    given = {**_when(missed), "then": f"{runs:%H:%M}"}
    return _("%(time)s does not exist on %(day)s: runs at %(then)s") % given


def the_second(wall: datetime) -> str:
    return _("%(time)s comes twice on %(day)s: this is the second") % _when(wall)


def second_time(wall: datetime) -> str:
    return _("%(time)s comes twice on %(day)s: runs the second time") % _when(wall)


def first_time(wall: datetime) -> str:
    return _("%(time)s comes twice on %(day)s: runs the first time only") % _when(wall)


def both_times(wall: datetime) -> str:
    return _("%(time)s comes twice on %(day)s: runs both times") % _when(wall)


def _when(wall: datetime) -> dict[str, str]:
    return {"time": f"{wall:%H:%M}", "day": dateformat.format(wall, _("j M"))}


def in_other_words(text: str) -> str:
    """What cron-descriptor says: it names days and months in the language of the process."""
    return _NAME.sub(lambda name: str(_NAMES[name[0]]), text)


_NAMES = dict(zip(calendar.day_name, WEEKDAYS.values(), strict=True))
_NAMES |= dict(zip(list(calendar.month_name)[1:], MONTHS.values(), strict=True))
_NAME = re.compile(rf"\b({'|'.join(_NAMES)})\b")


def cron_locale() -> str:
    """The catalogue of cron-descriptor that is nearest to the active language."""
    language = (get_language() or "en").replace("-", "_").lower()
    known = _cron_locales()
    return known.get(language) or known.get(language.partition("_")[0]) or ENGLISH


@cache
def _cron_locales() -> dict[str, str]:
    import cron_descriptor

    names = sorted(path.stem for path in (Path(cron_descriptor.__file__).parent / "locale").glob("*.mo"))
    by_language = {name.partition("_")[0].lower(): name for name in reversed(names)}
    return {**by_language, **{name.lower(): name for name in names}, "en": ENGLISH}
