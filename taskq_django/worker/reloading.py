"""``--reload``: new code takes the place of the old when it can be loaded. Belongs to the supervisor's thread.

The supervisor has the project loaded and runs no task, so it knows every source file, and can be replaced by a
process that starts anew. Until then its processes finish what they run.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

from django.utils.autoreload import iter_all_python_module_files

logger = logging.getLogger("taskq_django.worker")

LOOK_AGAIN = 1.0  # seconds; a look at a thousand files takes some milliseconds


class Sources:
    """The files of the loaded modules, as they were when this was made, or when they were first seen."""

    def __init__(self) -> None:
        self._known = _versions()
        self._look_at = monotonic() + LOOK_AGAIN

    def changed(self) -> Path | None:
        """A file that has changed since it was last asked for, when it is time to look; None for none."""
        if monotonic() < self._look_at:
            return None
        self._look_at = monotonic() + LOOK_AGAIN
        now = _versions()
        changed = next((path for path, version in now.items() if self._known.get(path, version) != version), None)
        # What is away is remembered: an editor may replace a file by taking it away first.
        self._known.update(now)
        return changed


def is_loadable(command: str) -> bool:
    """Whether the code can be loaded as it is now: ``manage.py check`` in a process of its own. Shows why not.

    ``command``: the management command that this process was started for.
    """
    arguments = sys.orig_argv[: sys.orig_argv.index(command)] if command in sys.orig_argv else []
    if not arguments:
        return True  # started in a way of its own; the new process will tell
    done = subprocess.run([sys.executable, *arguments[1:], "check"], check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        logger.error("The new code cannot be loaded; the old one goes on\n%s", (done.stderr or done.stdout).rstrip())
    return done.returncode == 0


def start_anew() -> None:
    """Become a fresh process with the same arguments and the same number; never returns."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


def _versions() -> dict[Path, int]:
    versions = {}
    for path in iter_all_python_module_files():
        try:
            versions[path] = path.stat().st_mtime_ns
        except OSError:  # being written, or gone
            continue
    return versions
