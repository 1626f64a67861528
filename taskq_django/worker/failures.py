"""Turns an exception into text that can be stored, whatever the exception does to resist."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

import asgiref

from ..jobs import Failure

# What stands above a task's own frames: ours, and those that carry a coroutine's exception to our thread.
OUR_FRAMES = (str(Path(__file__).parent), str(Path(asgiref.__file__).parent))
LONGEST_MESSAGE = 2_000  # characters
LONGEST_TRACEBACK = 64_000


def failure_of(error: BaseException) -> Failure:
    """Class, message and traceback of ``error``; our own frames above the task's are left out."""
    kind = type(error)
    return Failure(
        exception_class=storable(f"{kind.__module__}.{kind.__qualname__}", 255),
        message=storable(_message(error), LONGEST_MESSAGE),
        traceback=storable(_traceback(error), LONGEST_TRACEBACK),
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a broken __str__ must not cost the job its end
        return "(message unavailable)"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, _users_part(error.__traceback__)))
    except Exception as failed:  # RecursionError for a group nested thousands deep, or a class that breaks the format
        return f"(traceback unavailable: {type(failed).__name__})\n{type(error).__qualname__}: {_message(error)}\n"


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
