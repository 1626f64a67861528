"""The example project, as its README command runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def manage(*arguments: str, database: Path) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "TASKQ_"))}
    env |= {"PYTHONPATH": str(ROOT), "EXAMPLE_DATABASE": str(database)}
    command = [sys.executable, str(ROOT / "example_project/manage.py"), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=database.parent)


def test_it_has_no_faults(tmp_path: Path) -> None:
    for command in (["check", "--fail-level", "WARNING"], ["makemigrations", "--check", "--dry-run"]):
        done = manage(*command, database=tmp_path / "db.sqlite3")
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_demo_indexes_a_folder_and_shows_the_failure(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "one.txt").write_text("apples and pears, apples and plums")
    (folder / "two.rst").write_text("Apples again.")
    (folder / "broken.txt").write_bytes(b"\xff\xfe\x00")
    report = tmp_path / "report.txt"

    done = manage(
        "taskq_demo", "--fresh", "--folder", str(folder), "--report", str(report), database=tmp_path / "db.sqlite3"
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 files, 6 words" in report.read_text()
    assert "apples              3 times in   2 files" in report.read_text()
    assert report.read_text().splitlines()[0] in done.stdout
    assert "KeyError: 3" in done.stdout
    assert "1 of the files could not be read" in done.stdout
    assert "2 files indexed, 1 report written, 1 failure shown." in done.stdout


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_a_folder_without_texts_is_named(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    done = manage("taskq_demo", "--folder", str(tmp_path / folder), database=tmp_path / "db.sqlite3")
    assert done.returncode == 1
    assert str(tmp_path / folder) in done.stderr
    assert "Traceback" not in done.stderr
