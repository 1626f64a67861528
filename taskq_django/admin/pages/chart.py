"""A chart of stacked bars, as numbers for inline SVG: no script, no style attribute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import dateformat, timezone
from django.utils.translation import gettext_lazy as _

from ...traffic import Bar, History

WIDTH, HEIGHT, GAP = 1000.0, 160.0, 0.2  # of the drawing; the gap is a part of a bar
# From below; each with its class of the style sheet.
LAYERS = (
    ("succeeded", _("Succeeded")),
    ("dropped", _("Cancelled or expired")),
    ("retried", _("Retried")),
    ("failed", _("Failed")),
)


@dataclass(frozen=True, slots=True)
class Piece:
    name: str
    y: str
    height: str


@dataclass(frozen=True, slots=True)
class Column:
    label: str
    x: str
    bar: Bar
    pieces: list[Piece]


@dataclass(frozen=True, slots=True)
class Chart:
    columns: list[Column]
    width: str  # of a column
    most: int  # runs of the highest one
    begin: str
    end: str
    totals: list[tuple[str, Any, int]]  # class, label, runs

    @property
    def is_empty(self) -> bool:
        return self.most == 0


def chart_of(history: History) -> Chart:
    bars = history.bars
    most = max(sum(bar.ends) for bar in bars)
    each = WIDTH / len(bars)
    labels = [_label(bar, history.seconds) for bar in bars]
    columns = [
        Column(label, f"{number * each:.1f}", bar, list(_pieces(bar, most)))
        for number, (bar, label) in enumerate(zip(bars, labels, strict=True))
    ]
    totals = [(name, label, sum(getattr(bar, name) for bar in bars)) for name, label in LAYERS]
    return Chart(columns, f"{each * (1 - GAP):.1f}", most, labels[0], labels[-1], totals)


def _pieces(bar: Bar, most: int) -> Sequence[Piece]:
    pieces, top = [], HEIGHT
    for name, _label in LAYERS:
        if count := getattr(bar, name):
            height = max(1.5, HEIGHT * count / most)  # one failure among a million is seen
            top = max(0.0, top - height)
            pieces.append(Piece(name, f"{top:.1f}", f"{height:.1f}"))
    return pieces


def _label(bar: Bar, seconds: int) -> str:
    local = timezone.localtime(bar.begin)
    return dateformat.format(local, "H:i" if seconds <= 3600 else "D d, H:i")
