"""Turns an exception into text that can be stored, whatever the exception does to resist."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

import asgiref
import django

from ..exceptions import as_text
from ..jobs import Failure

# What stands above a task's own frames: ours, and those that carry a coroutine's exception to our thread.
OUR_FRAMES = (
    str(Path(__file__).parent),
    str(Path(asgiref.__file__).parent),
    str(Path(django.__file__).parent / "views" / "decorators"),  # masks what is sensitive
)
LONGEST_MESSAGE = 2_000  # characters
LONGEST_TRACEBACK = 64_000


def failure_of(error: BaseException) -> Failure:
    """Class, message and traceback of ``error``; our own frames above the task's are left out. Never raises."""
    return Failure(
        exception_class=storable(_class_path(error), 255),
        message=storable(as_text(error), LONGEST_MESSAGE),
        traceback=storable(_traceback(error), LONGEST_TRACEBACK),
    )


def _class_path(error: BaseException) -> str:
    kind = type(error)
    try:
        return f"{kind.__module__}.{kind.__qualname__}"
    except BaseException:  # a metaclass may compute them
        return type.__repr__(kind)


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, _users_part(error.__traceback__)))
    except BaseException as failed:
        # RecursionError for a group nested thousands deep, or a class that breaks the format.
        return f"(traceback unavailable: {type(failed).__name__})\n{_class_path(error)}: {as_text(error)}\n"


def _users_part(frames: TracebackType | None) -> TracebackType | None:
    first = frames
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(OUR_FRAMES):
        frames = frames.tb_next
    return frames or first


def storable(text: str, longest: int) -> str:
    """The text cut in its middle, and without what PostgreSQL cannot store (NUL, lone surrogates)."""
    if len(text) > longest:
        half = longest // 2 - 20
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
