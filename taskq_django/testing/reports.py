"""Why an assertion of the kit has failed, in the words of the test."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections

from .. import compat
from ..backend import TaskqBackend
from ..exceptions import counted
from .enqueued import Enqueued, Wanted

MOST_SHOWN = 5


def not_enqueued(wanted: Wanted, times: int | None, matched: Sequence[Enqueued], all_: Sequence[Enqueued]) -> str:
    asked = "it was" if times is None else f"{counted(len(matched), 'time')} instead of {times}"
    lines = [f"Not enqueued: {wanted}." if times is None else f"Enqueued {asked}: {wanted}."]
    near = sorted(
        ((wanted.differences(each), each) for each in all_ if wanted.is_task_of(each) and each not in matched),
        key=lambda pair: len(pair[0]),
    )
    if near:
        lines.append("Enqueued instead, the nearest first:")
    for differences, each in near[:MOST_SHOWN]:
        lines.append(f"  {each}")
        lines += [f"    {name}: wanted {wants!r}, was {was!r}" for name, (wants, was) in differences.items()]
    if len(near) > MOST_SHOWN:
        lines.append(f"  … and {len(near) - MOST_SHOWN} more")
    if not near and not matched:
        lines += _others(all_)
    return "\n".join([*lines, *_hints(wanted)])


def enqueued_after_all(wanted: Wanted, matched: Sequence[Enqueued]) -> str:
    lines = [f"Enqueued {counted(len(matched), 'time')}, and should not have been: {wanted}."]
    lines += [f"  {each}" for each in matched[:MOST_SHOWN]]
    if len(matched) > MOST_SHOWN:
        lines.append(f"  … and {len(matched) - MOST_SHOWN} more")
    return "\n".join(lines)


def _others(all_: Sequence[Enqueued]) -> list[str]:
    if not all_:
        return ["This test has enqueued nothing."]
    lines = ["This test has enqueued other tasks:", *(f"  {each}" for each in all_[:MOST_SHOWN])]
    return lines if len(all_) <= MOST_SHOWN else [*lines, f"  … and {len(all_) - MOST_SHOWN} more"]


def _hints(wanted: Wanted) -> list[str]:
    hints = []
    if waiting := sum(len(connection.run_on_commit) for connection in connections.all(initialized_only=True)):
        what = counted(waiting, "callback")
        hints.append(
            f"{what} of transaction.on_commit() {'waits' if waiting == 1 else 'wait'} for a commit, which a TestCase "
            "never makes: put what is tested into `with taskq.capture_on_commit():`."
        )
    if wanted.task is not None and not isinstance(backend := compat.task_backends[wanted.task.backend], TaskqBackend):
        hints.append(
            f"TASKS[{wanted.task.backend!r}] is {type(backend).__name__} here, and only what waits in a backend of "
            "taskq_django is seen: leave the BACKEND of the settings as it is."
        )
    return hints
