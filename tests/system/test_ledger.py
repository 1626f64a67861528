"""The judge of the other tests: it must be able to say no."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ledger as ledger_module
from tests.support.ledger import Ledger
from tests.support.workers import ROOT


@pytest.fixture
def told(tmp_path: Path) -> Ledger:
    """``kept`` ran once, ``cut`` was killed and ran again, ``twice`` ended twice, ``open`` has not ended."""
    lines = [
        "kept 1 10 start 1.0",
        "kept 1 10 end 2.0",
        "cut 1 10 start 1.5",
        "cut 2 11 start 4.0",
        "cut 2 11 end 5.0",
        "twice 1 10 start 1.0",
        "twice 2 11 start 6.0",
        "twice 1 10 end 6.5",
        "twice 2 11 end 7.0",
        "open 1 10 start 2.5",
    ]
    path = tmp_path / "ledger"
    path.write_text("\n".join(lines) + "\n")
    return Ledger(path)


def test_a_line_of_which_a_part_is_there_is_none_yet_and_spoils_no_other(told: Ledger) -> None:
    with told.path.open("a") as file:
        file.write("killed 1 1")
    ledger_module.write(str(told.path), "next", 1, "start")
    assert "killed" not in told.stories()
    assert "next" in told.running()


def test_what_no_run_has_ended_is_lost(told: Ledger) -> None:
    assert told.lost({"kept", "cut", "twice", "open", "never"}) == {"open", "never"}


def test_each_end_beyond_the_first_is_a_duplicate(told: Ledger) -> None:
    assert told.duplicated() == 1


def test_a_run_that_begins_while_another_goes_on_overlaps(told: Ledger) -> None:
    assert told.overlapped() == 1


def test_recovery_is_counted_from_the_fault_to_the_next_start(told: Ledger) -> None:
    assert sorted(told.recovery(3.0)) == [1.0, 3.0]
    assert told.recovery(4.5) == [1.5]


def test_what_has_begun_and_not_ended_runs_as_far_as_is_known(told: Ledger) -> None:
    assert told.running() == {"cut", "open"}
    assert told.started() == 6


def test_lines_of_many_processes_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    program = (
        "import sys; from tests.support.ledger import write\n"
        "for n in range(300): write(sys.argv[1], sys.argv[2] * 36, n, 'start')"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(path), letter], cwd=ROOT, env={**os.environ})
        for letter in "abcd"
    ]
    assert [writer.wait(30) for writer in writers] == [0] * 4
    assert {id_: len(story.runs) for id_, story in Ledger(path).stories().items()} == {
        letter * 36: 300 for letter in "abcd"
    }


def test_an_end_without_its_start_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger_module.write(str(path), "a", 1, "end")
    with pytest.raises(StopIteration):
        Ledger(path).stories()
