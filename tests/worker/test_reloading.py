"""What ``--reload`` sees, and whether it dares."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskq_django.worker import reloading
from taskq_django.worker.reloading import Sources
from tests.support.workers import wait_for

Write = Callable[[str], Path]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes the source of a module that is loaded; each time it has another time of change."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(reloading, "LOOK_AGAIN", 0.0)
    path = tmp_path / "reloaded_module.py"
    moment = path.parent.stat().st_mtime_ns

    def write(text: str) -> Path:
        nonlocal moment
        moment += 1_000_000_000
        path.write_text(text)
        os.utime(path, ns=(moment, moment))
        return path

    write("x = 1\n")
    importlib.import_module("reloaded_module")
    yield write
    del sys.modules["reloaded_module"]


def test_a_change_is_told_once(module: Write) -> None:
    sources = Sources("taskq_worker")
    assert sources.changed() is None

    path = module("x = 2\n")
    assert sources.changed() == path
    assert sources.changed() is None


def test_a_file_that_is_away_while_it_is_replaced_has_changed_when_it_is_back(module: Write, tmp_path: Path) -> None:
    sources = Sources("taskq_worker")

    (tmp_path / "reloaded_module.py").unlink()
    assert sources.changed() is None
    path = module("x = 2\n")
    assert sources.changed() == path


def test_a_module_that_is_loaded_later_has_not_changed(module: Write, tmp_path: Path) -> None:
    sources = Sources("taskq_worker")

    (tmp_path / "reloaded_later.py").touch()
    importlib.import_module("reloaded_later")
    assert sources.changed() is None
    del sys.modules["reloaded_later"]


def test_it_looks_once_a_second(module: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "LOOK_AGAIN", 60.0)
    sources = Sources("taskq_worker")

    module("x = 2\n")
    assert sources.changed() is None


def test_who_is_about_to_start_anew_looks_whatever_the_time(module: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "LOOK_AGAIN", 60.0)
    sources = Sources("a command that this process was not started for")

    path = module("x = 2\n")
    assert sources.loadable_change() is None
    assert sources.loadable_change(at_once=True) == path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a ``manage.py`` that this process was started by, as it seems."""

    def write(text: str) -> Path:
        path = tmp_path / "manage.py"
        path.write_text(text)
        monkeypatch.setattr(sys, "orig_argv", [sys.executable, str(path), "taskq_worker", "--reload"])
        return path

    return write


def tried(sources: Sources) -> Path | None:
    """What the trial under way has come to."""
    found: list[Path | None] = []
    wait_for(lambda: (found.append(sources.loadable_change()), found[-1] or sources._trial is None)[1])
    return found[-1]


def test_only_code_that_passes_its_check_is_loadable(
    module: Write, project: Write, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("taskq_django"), "propagate", True)
    project("import sys\nassert sys.argv[1:] == ['check'], sys.argv\nimport reloaded_module\n")
    sources = Sources("taskq_worker")
    assert sources.loadable_change() is None

    module("def broken(:\n")
    assert tried(sources) is None
    assert caplog.text.count("SyntaxError") == 1
    path = module("x = 3\n")
    assert tried(sources) == path
    assert sources.loadable_change() is None


def test_a_change_during_a_trial_begins_it_anew(module: Write, project: Write) -> None:
    project("import time, reloaded_module\ntime.sleep(reloaded_module.pause)\n")
    sources = Sources("taskq_worker")

    module("pause = 60\n")
    assert sources.loadable_change() is None
    path = module("pause = 0\n")
    assert tried(sources) == path


def test_a_trial_that_does_not_end_is_given_up(
    module: Write, project: Write, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("taskq_django"), "propagate", True)
    monkeypatch.setattr(reloading, "TRIAL_LASTS", 0.2)
    project("import time\ntime.sleep(60)\n")
    sources = Sources("taskq_worker")

    module("x = 2\n")
    assert tried(sources) is None
    assert "takes more than 0.2 s" in caplog.text
