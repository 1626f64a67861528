"""What ``--reload`` sees, and whether it dares."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskq_django.worker import reloading
from taskq_django.worker.reloading import Sources

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
    sources = Sources()
    assert sources.changed() is None

    path = module("x = 2\n")
    assert sources.changed() == path
    assert sources.changed() is None


def test_a_file_that_is_away_while_it_is_replaced_has_changed_when_it_is_back(module: Write, tmp_path: Path) -> None:
    sources = Sources()

    (tmp_path / "reloaded_module.py").unlink()
    assert sources.changed() is None
    path = module("x = 2\n")
    assert sources.changed() == path


def test_a_module_that_is_loaded_later_has_not_changed(module: Write, tmp_path: Path) -> None:
    sources = Sources()

    (tmp_path / "reloaded_later.py").touch()
    importlib.import_module("reloaded_later")
    assert sources.changed() is None
    del sys.modules["reloaded_later"]


def test_it_looks_once_a_second(module: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "LOOK_AGAIN", 60.0)
    sources = Sources()

    module("x = 2\n")
    assert sources.changed() is None
