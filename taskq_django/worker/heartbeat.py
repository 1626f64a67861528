"""A file by which a service says that it lives, and its probe: ``python -m taskq_django.worker.heartbeat PATH``.

The file holds when the loop of the service last turned, by the clock of the host that nobody puts forward or back.
Imports neither Django nor anything of ours, because an orchestrator starts the probe every few seconds.
"""

from __future__ import annotations

import argparse
import errno
import os
import stat
import sys
from time import monotonic

MAX_AGE = 30.0  # seconds
FORM = b"%20.3f\n"  # always of one length: whoever reads while it is written finds the old moment or the new one
LENGTH = len(FORM % 0)
MARGIN = 1.0  # seconds


def begin(path: str) -> None:
    """Write the first one. Raises OSError, also where the file holds something else, which would be lost."""
    if os.path.lexists(path):
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size not in {0, LENGTH}:
            raise FileExistsError(errno.EEXIST, "it is there, and no heartbeat file")
    write(path, monotonic())


def write(path: str, moment: float) -> None:
    """Say that the loop turned then (monotonic). Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        os.write(fd, FORM % moment)
    finally:
        os.close(fd)


def age(path: str) -> float:
    """Seconds since the loop turned. Raises OSError, and ValueError for a file that is no heartbeat of this boot."""
    with open(path, "rb") as file:  # noqa: PTH123 - to import pathlib is a quarter of the probe's time
        text = file.read(LENGTH + 1)
    if len(text) != LENGTH:
        raise ValueError("it is no heartbeat file")
    seconds = monotonic() - float(text)
    if seconds < -MARGIN:
        raise ValueError("it was written by another host, or before this one was started anew")
    return max(0.0, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m taskq_django.worker.heartbeat",
        description="Exit with 0 when the service that writes this file lives, else with 1 and the reason.",
    )
    parser.add_argument("path", metavar="PATH", help="The file that --heartbeat-file names.")
    text = f"Its loop must have turned within so long. Default: {MAX_AGE:g}."
    parser.add_argument("--max-age", type=float, default=MAX_AGE, metavar="SECONDS", help=text)
    given = parser.parse_args()
    lives, why = judge(given.path, given.max_age)
    sys.stdout.write(f"{given.path}: {why}\n")
    return 0 if lives else 1


def judge(path: str, max_age: float) -> tuple[bool, str]:
    """Does the service live, and why so?"""
    try:
        seconds = age(path)
    except FileNotFoundError:
        return False, "it is not there: the service has not started, or has ended"
    except (OSError, ValueError) as error:
        return False, str(error)
    if seconds <= max_age:
        return True, f"the loop turned {seconds:.1f} s ago"
    return False, f"the loop has not turned for {seconds:.1f} s, longer than {max_age:g} s"


if __name__ == "__main__":
    sys.exit(main())
