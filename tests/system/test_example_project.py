"""The example project, as its README command runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def manage(
    *arguments: str, database: Path, project: Path = ROOT / "example_project"
) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "TASKQ_"))}
    env |= {"PYTHONPATH": str(ROOT), "EXAMPLE_DATABASE": str(database)}
    command = [sys.executable, str(project / "manage.py"), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=database.parent)


def test_it_has_no_faults(tmp_path: Path) -> None:
    for command in (["check", "--fail-level", "WARNING"], ["makemigrations", "--check", "--dry-run"]):
        done = manage(*command, database=tmp_path / "db.sqlite3")
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_demo_indexes_a_folder_and_shows_the_failure(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "one.txt").write_text("apples and pears, apples for a worker")
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
    assert "1 of the files were not indexed" in done.stdout
    assert "SUCCESSFUL  write_report" in done.stdout
    assert "worker         one.txt" in report.read_text()
    assert "retry          nowhere" in report.read_text()
    assert "2 files indexed, 1 report written, 1 failure shown." in done.stdout


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_a_folder_without_texts_is_named(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    done = manage("taskq_demo", "--folder", str(tmp_path / folder), database=tmp_path / "db.sqlite3")
    assert done.returncode == 1
    assert str(tmp_path / folder) in done.stderr
    assert "Traceback" not in done.stderr


def copy_of_the_project(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("*.sqlite3*", "report.txt", "__pycache__")
    return Path(shutil.copytree(ROOT / "example_project", folder / "example_project", ignore=ignored))


def test_without_docs_the_demo_indexes_the_sources_of_the_package(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    done = manage("taskq_demo", "--fresh", "--report", "here.txt", database=tmp_path / "db.sqlite3", project=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exceptions.py" in done.stdout
    assert " files, " in (tmp_path / "here.txt").read_text()


def test_the_demo_fails_when_jobs_fail_for_another_reason_than_their_file(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path)
    tasks = project / "library/tasks.py"
    tasks.write_text(
        tasks.read_text().replace("    counts = Counter(", '    raise RuntimeError("out of ink")\n    Counter(')
    )
    done = manage("taskq_demo", "--fresh", database=tmp_path / "db.sqlite3", project=project)
    assert done.returncode == 1
    assert "FAILED: out of ink" in done.stderr
    assert "files indexed" not in done.stdout


def test_the_demo_fails_when_no_file_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "broken.txt").write_bytes(b"\xff")
    done = manage("taskq_demo", "--fresh", "--folder", ".", "--report", "here.out", database=tmp_path / "db.sqlite3")
    assert done.returncode == 1
    assert "No file was indexed." in done.stderr


def test_a_report_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("apples")
    report = tmp_path / "missing" / "report.txt"
    done = manage("taskq_demo", "--fresh", "--folder", ".", "--report", str(report), database=tmp_path / "db.sqlite3")
    assert done.returncode == 1
    assert f"CommandError: The results are not what they must be:\n  {report}: the report's job ended" in done.stderr
