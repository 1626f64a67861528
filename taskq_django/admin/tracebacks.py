"""A stored traceback, cut into what is read first and what is folded: the frames of libraries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

# Whatever host has written it. The frames of this package are left out of what is stored, but for those below a task.
LIBRARY = re.compile(r"[/\\](site-packages|dist-packages|python3[\d.]*t?)[/\\]|<frozen ", re.IGNORECASE)
FRAME = re.compile(r'(?P<margin>[ |]*)File "(?P<path>[^"\n]*)", line \d+')


class Part(NamedTuple):
    text: str
    folded: int = 0  # frames of libraries


def parts_of(traceback: str) -> list[Part]:
    """In their order; together they are the whole text."""
    found = []
    for is_library, pieces in groupby(_pieces(traceback), key=lambda piece: piece[0]):
        texts = [text for _, text in pieces]
        found.append(Part("\n".join(texts), len(texts) if is_library else 0))
    return found


def _pieces(traceback: str) -> Iterator[tuple[bool, str]]:
    """Each frame, or what is between two; and whether it is a library's frame."""
    lines: list[str] = []
    margin, is_library = "", False
    for line in traceback.rstrip("\n").split("\n"):
        frame = FRAME.match(line)
        # The code of a frame stands further in; "[Previous line repeated …]" does not.
        is_over = bool(margin) and not line.startswith((f"{margin}  ", f"{margin}["))
        if lines and (frame or is_over):
            yield is_library, "\n".join(lines)
            lines, margin, is_library = [], "", False
        if frame:
            margin, is_library = frame["margin"], bool(LIBRARY.search(frame["path"]))
        lines.append(line)
    yield is_library, "\n".join(lines)
