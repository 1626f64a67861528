"""``RUN_CONTEXT``: what of the project's stands round each run, as a ``with`` round the task's body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string

from ..conf.declaration import Problem
from ..exceptions import ConfigurationError, as_text
from ..jobs import Claim

WHERE = 'TASKQ["WORKER"]["RUN_CONTEXT"]'
HINT = "Name a function of the claim that returns a context manager, by its path: shop.tenants.of_the_job."

# Makes the context manager of one run. For a coroutine it may be an asynchronous one.
RunContext = Callable[[Claim], Any]


def run_context_problem(path: str) -> Problem | None:
    """What is wrong with this path; None for nothing, and for none."""
    if not path:
        return None
    try:
        found = import_string(path)
    except Exception as error:  # its module runs while it is imported
        return Problem(WHERE, f"is {path!r}, which cannot be imported: {as_text(error)}.", HINT, "E024")
    if not callable(found):
        return Problem(WHERE, f"is {path!r}, which is {type(found).__name__} and cannot be called.", HINT, "E024")
    return None


def run_context_at(path: str) -> RunContext | None:
    """None where the project has none. Raises ConfigurationError."""
    if problem := run_context_problem(path):
        raise ConfigurationError(f"{problem.where} {problem.message} {problem.hint}")
    return import_string(path) if path else None


def call_within(around: RunContext, claim: Claim, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Returns None where the context manager keeps the exception of the task for itself."""
    __traceback_hide__ = True  # from error reports: the arguments are here
    with around(claim):
        return function(*args, **kwargs)


async def acall_within(around: RunContext, claim: Claim, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """As above. An asynchronous context manager is entered as such."""
    manager, __traceback_hide__ = around(claim), True
    if hasattr(manager, "__aenter__"):
        async with manager:
            return await function(*args, **kwargs)
    with manager:
        return await function(*args, **kwargs)
