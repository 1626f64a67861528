"""Linux tells who waits when a file is written to (inotify, man 7 inotify). Python has no call for it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable

IN_MODIFY = 0x2


class FileWatch:
    """Its ``fd`` becomes readable once one of the files is written to, by any process of this host."""

    def __init__(self) -> None:
        """Raises OSError where there is none: another system, or too many of this user's (fs.inotify in sysctl)."""
        if sys.platform != "linux":
            raise OSError("only Linux has inotify")
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            self.fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError as error:  # a libc without it
            raise OSError(str(error)) from error
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")

    def add(self, paths: Iterable[str]) -> None:
        """Those that exist; one that is watched already is watched once."""
        for path in paths:
            self._libc.inotify_add_watch(self.fd, os.fsencode(path), IN_MODIFY)

    def was_written(self) -> bool:
        """Since the last call? It cannot be read any more then."""
        try:
            return bool(os.read(self.fd, 65_536))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self.fd)
