"""An app of modules that the worker does not know before a job names them, written for one test."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from taskq_django.compat import task_backends
from taskq_django.jobs import Job, new_id

HEAD = "from taskq_django import task\nfrom tests.support import ledger\nfrom tests.support.gates import Gate\n"


class LateApp:
    """Package ``late``: in no module called ``tasks``, so that nobody imports it early."""

    def __init__(self, folder: Path) -> None:
        self._package = folder / "late"
        self._package.mkdir()
        (self._package / "__init__.py").write_text("")

    def write(self, module: str, code: str) -> None:
        (self._package / f"{module}.py").write_text(HEAD + dedent(code))

    def enqueue(self, path: str, count: int = 1, payload: str = "[[],{}]") -> list[str]:
        """As a process does that has the code; this one has not. ``path``: MODULE.TASK. Returns the ids."""
        ids = [new_id() for _ in range(count)]
        jobs = [Job(id_, f"late.{path}", payload, "default", "default") for id_ in ids]
        task_backends["default"].broker.send(jobs)  # type: ignore[attr-defined]
        return ids
