"""Finds a Chromium for the tests of tests/browser: where the environment says, Playwright's own, the system's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium(playwright: Any) -> str:
    """The path of it. Raises LookupError where there is none."""
    given = os.environ.get("TASKQ_TEST_CHROMIUM")
    if given:
        return given
    own = playwright.chromium.executable_path
    if own and Path(own).exists():
        return str(own)
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise LookupError(
        f"Chromium: TASKQ_TEST_CHROMIUM is not set, none of {', '.join(NAMES)} is there, "
        "and Playwright has none of its own (playwright install chromium)"
    )
