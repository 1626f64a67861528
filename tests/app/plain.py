"""Tasks of a package that knows only django.tasks."""

from __future__ import annotations

from enum import Enum
from typing import Any

import django

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task  # type: ignore[no-redef]


@task
def double(n: int) -> int:
    return n * 2


def triple(n: int) -> int:
    return n * 3


class Shade(Enum):
    DARK = "dark"


@task
def kind_of(shade: Shade) -> str:
    return type(shade).__name__


@task
def fails() -> None:
    raise RuntimeError("plain")


@task(takes_context=True)
def tells(context: Any) -> int:
    return int(context.attempt)


@task
async def later(n: int) -> int:
    return n + 1


@task
def lambdas() -> Any:
    return lambda: True


@task
def complicated() -> None:
    raise ValueError(ValueError("This task failed"))


@task
def leaves() -> None:
    raise SystemExit("left")
