"""Figures and states as these pages say them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from .. import display


def mark(name: str, label: Any) -> SafeString:
    """A word in the colour of a state, by the class of the style sheet."""
    return format_html('<span class="taskq-badge taskq-{}">{}</span>', name, label)


def span(seconds: float | None) -> str:
    """Roughly: ``2 d 4 h``."""
    return "–" if seconds is None else display.span(timedelta(seconds=seconds))


def brief(seconds: float | None) -> str:
    """Of two digits, in the unit that fits: ``3.4 ms``."""
    if seconds is None or seconds >= 60:
        return span(seconds)
    amount, unit = (seconds, "s") if seconds >= 1 else (seconds * 1000, "ms")
    return display.isolated(f"{amount:.{0 if amount >= 10 else 1}f}{display.NBSP}{unit}")


def per_minute(rate: float) -> str:
    return "–" if not rate else f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}" if rate >= 0.1 else "< 0.1"
