"""What the faults cost, and the table of it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

TITLES = {
    "times": "times",
    "jobs": "jobs",
    "lost": "lost",
    "forgotten": "forgotten",
    "duplicated": "run twice",
    "overlapped": "at once",
    "overwritten": "overwritten",
}


@dataclass(slots=True)
class Figures:
    times: int = 0
    jobs: int = 0
    lost: int = 0
    forgotten: int = 0
    duplicated: int = 0
    overlapped: int = 0
    overwritten: int = 0
    seconds: float = 0.0  # that all the rounds took
    recovery: list[float] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


def merged(soaks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One for each database and its versions: what all soaks of it have seen together."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for each in soaks:
        versions = each["database"], each["django"], each["python"]
        whole = found.setdefault(versions, {**each, "figures": {}})
        whole["days"] = sorted({*whole["days"], *each["days"]})
        for fault, row in each["figures"].items():
            figures = Figures(**whole["figures"].get(fault, {}))
            figures.add(Figures(**{**row, "recovery": [round(seconds, 2) for seconds in row["recovery"]]}))
            whole["figures"][fault] = asdict(figures)
    return list(found.values())


def write_table(soaks: Sequence[dict[str, Any]], order: Sequence[str], table: Path) -> None:
    """``order``: of the faults, by name. What no fault of the whole table can forget has no column."""
    rows = [row for each in soaks for row in each["figures"].values()]
    titles = {key: title for key, title in TITLES.items() if key != "forgotten" or any(row[key] for row in rows)}
    lines = [".. Written by tests.soak.", ""]
    for each in soaks:
        days = " to ".join(sorted({each["days"][0], each["days"][-1]}))
        title = f"{each['database']}, Django {each['django']}, Python {each['python']}; {days}"
        lines += [f".. csv-table:: {title}", "   :header-rows: 1", ""]
        lines.append(f"   fault,{','.join(titles.values())},again after (p50 s),(max s)")
        for fault in sorted(each["figures"], key=order.index):
            row = each["figures"][fault]
            shown = [fault.replace("_", " "), *(str(row[key]) for key in titles), *_waits(row["recovery"])]
            lines.append(f"   {','.join(shown)}")
        lines.append("")
    table.write_text("\n".join(lines))


def _waits(recovery: Sequence[float]) -> list[str]:
    if not recovery:
        return ["–", "–"]
    return [str(round(statistics.median(recovery), 2)), str(round(max(recovery), 2))]
