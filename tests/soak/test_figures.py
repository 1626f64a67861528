"""The table of the soak: parts of it can be done apart."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from .figures import Figures, merged, write_table


def soak_of(database: str, day: str = "2026-11-30", **figures: Figures) -> dict[str, Any]:
    rows = {fault: asdict(each) for fault, each in figures.items()}
    return {"database": database, "django": "6.1", "python": "3.13", "days": [day], "figures": rows}


def table_of(*soaks: dict[str, Any], folder: Path) -> list[str]:
    path = folder / "table.inc"
    write_table(merged(soaks), ["kill", "cut"], path)
    return [line.strip() for line in path.read_text().splitlines() if "," in line]


def test_parts_of_one_database_are_summed_in_the_order_of_the_faults(tmp_path: Path) -> None:
    lines = table_of(
        soak_of("A", cut=Figures(times=1, jobs=10, lost=1)),
        soak_of("A", kill=Figures(times=3, jobs=30, duplicated=1, recovery=[0.5, 0.1])),
        soak_of("A", kill=Figures(times=2, jobs=20, duplicated=2, overwritten=1, recovery=[0.9])),
        folder=tmp_path,
    )
    assert lines[2:] == ["kill,5,50,0,3,0,1,0.5,0.9", "cut,1,10,1,0,0,0,–,–"]


def test_each_database_has_a_table_of_its_own(tmp_path: Path) -> None:
    lines = table_of(soak_of("A", kill=Figures(times=1)), soak_of("B", kill=Figures(times=2)), folder=tmp_path)
    assert [line for line in lines if line.startswith("kill")] == ["kill,1,0,0,0,0,0,–,–", "kill,2,0,0,0,0,0,–,–"]
    assert [line for line in lines if "::" in line] == [
        ".. csv-table:: A, Django 6.1, Python 3.13; 2026-11-30",
        ".. csv-table:: B, Django 6.1, Python 3.13; 2026-11-30",
    ]


def test_what_is_forgotten_is_shown_where_a_fault_can_forget(tmp_path: Path) -> None:
    lines = table_of(soak_of("A", kill=Figures(times=1, forgotten=2), cut=Figures(times=1)), folder=tmp_path)
    assert lines[1] == "fault,times,jobs,lost,forgotten,run twice,at once,overwritten,again after (p50 s),(max s)"
    assert lines[2:] == ["kill,1,0,0,2,0,0,0,–,–", "cut,1,0,0,0,0,0,0,–,–"]


def test_a_table_of_several_days_names_the_first_and_the_last(tmp_path: Path) -> None:
    days = "2026-12-02", "2026-11-30", "2026-12-01"
    (title,) = table_of(*(soak_of("A", day, kill=Figures(times=1)) for day in days), folder=tmp_path)[:1]
    assert title == ".. csv-table:: A, Django 6.1, Python 3.13; 2026-11-30 to 2026-12-02"
