"""``--reload``: new code takes the place of the old when it can be loaded. Belongs to the supervisor's thread.

The supervisor has the project loaded and runs no task, so it knows every source file, and can be replaced by a
process that starts anew. Until then its processes finish what they run.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

from django.utils.autoreload import iter_all_python_module_files

logger = logging.getLogger("taskq_django.worker")

LOOK_AGAIN = 1.0  # seconds; a look at a thousand files takes some milliseconds
TRIAL_LASTS = 120.0  # seconds


class Sources:
    """The files of the loaded modules, as they were when this was made, or when they were first seen."""

    def __init__(self, command: str) -> None:
        """``command``: the management command that this process was started for."""
        self._arguments = _prefix(command)
        self._known = _versions()
        self._look_at = monotonic() + LOOK_AGAIN
        self._trial: Trial | None = None

    @property
    def is_on_trial(self) -> bool:
        """Is it being tried whether the code as it is now can be loaded?"""
        return self._trial is not None

    def loadable_change(self, *, at_once: bool = False) -> Path | None:
        """A file that has changed, once the code as it is now has been loaded on trial; returns at once.

        Renewing the lease must not wait for a project that takes long to load. ``at_once``: look whatever the time.
        """
        if at_once:
            self._look_at = monotonic()
        if path := self.changed():
            self.stop()
            if not self._arguments:
                return path  # started in another way; the new process will find out
            self._trial = Trial(path, self._arguments)
        if self._trial is None or (has_passed := self._trial.passed()) is None:
            return None
        path, self._trial = self._trial.path, None
        return path if has_passed else None

    def stop(self) -> None:
        """End a trial that is under way."""
        if self._trial is not None:
            self._trial.stop()
            self._trial = None

    def changed(self) -> Path | None:
        """A file that has changed since it was last asked for, when it is time to look; None for none."""
        if monotonic() < self._look_at:
            return None
        self._look_at = monotonic() + LOOK_AGAIN
        now = _versions()
        changed = next((path for path, version in now.items() if self._known.get(path, version) != version), None)
        # A missing file is remembered, because an editor may remove a file before it writes the new one.
        self._known.update(now)
        return changed


class Trial:
    """``manage.py check`` on the code as it is now, in a process of its own; nobody waits for it."""

    def __init__(self, path: Path, arguments: Sequence[str]) -> None:
        self.path = path  # the file whose change it tries
        self._ends_by = monotonic() + TRIAL_LASTS
        # A file, because a pipe that nobody reads would be full at some time.
        self._output = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed by stop
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, *arguments, "check"],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # What --pythonpath has added, which stands behind the command's name.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def passed(self) -> bool | None:
        """None while it runs; shows why not."""
        if self._process.poll() is None and monotonic() < self._ends_by:
            return None
        why = "" if self._process.returncode is not None else f"Loading it takes more than {TRIAL_LASTS:g} s.\n"
        self._process.kill()
        has_passed = self._process.wait() == 0
        if not has_passed:
            self._output.seek(0)
            logger.error("The new code cannot be loaded; the old one goes on\n%s", (why + self._output.read()).rstrip())
        self.stop()
        return has_passed

    def stop(self) -> None:
        """May be called twice."""
        self._process.kill()
        self._process.wait()
        self._output.close()


def _prefix(command: str) -> list[str]:
    """The arguments of this interpreter up to the management command that it was started for: ``["manage.py"]``."""
    return sys.orig_argv[1 : sys.orig_argv.index(command)] if command in sys.orig_argv else []


def start_anew() -> None:
    """Become a fresh process with the same arguments and the same number; never returns."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


def _versions() -> dict[Path, int]:
    versions = {}
    for path in iter_all_python_module_files():
        with suppress(OSError):  # being written, or gone
            versions[path] = path.stat().st_mtime_ns
    return versions
