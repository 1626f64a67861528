"""Tasks with every kind of parameter, for the form of a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import django

from taskq_django import TaskContext, task

if TYPE_CHECKING:
    from somewhere_else import Order  # type: ignore[import-not-found]

if django.VERSION >= (6, 0):
    from django.tasks import task as django_task
else:
    from django_tasks import task as django_task  # type: ignore[no-redef]


class Colour(Enum):
    RED = "r"
    BLUE = "b"


class Price(Enum):
    LOW = Decimal("1.50")
    HIGH = Decimal("9.50")


@dataclass
class Point:
    x: int
    y: int = 0


@task
def typed(
    whole: int,
    text: str,
    yes: bool,
    amount: Decimal,
    day: date,
    moment: datetime,
    clock: time,
    ident: UUID,
    size: Literal["small", "large"],
    colour: Colour,
    price: Price = Price.LOW,
    ratio: float = 0.5,
) -> None:
    """Has one of each.

    And a longer story.
    """


@task
def optional(count: int | None, label: str | None = None, size: Literal["s", None] = None) -> None: ...


@task
def collections(items: list[int], options: dict[str, Any], where: Point, either: int | str, anything) -> None: ...  # type: ignore[no-untyped-def]


@task
def starred(first: int, *others: int, flag: bool = False, **more: Any) -> None: ...


@task
def positional(first: int, second: str = "two", /, *, keyword: int) -> None: ...


@task(takes_context=True)
def with_context(context: TaskContext, x: int) -> None: ...


@django_task
def plain(x: int, when: datetime | None = None) -> None: ...


@task
def unresolvable(order: Order, x: int = 5) -> None: ...


@task
def nothing() -> None: ...


@task(sensitive=("pin",))
def secretive(user: str, pin: str, password: str = "hunter0", choice_key: Literal["k1", "k2"] = "k1") -> None: ...


@task
def default_not_storable(first: Any = object(), *others: int) -> None: ...  # noqa: B008


@task(schedulable=False)
def never_here() -> None: ...


@task(schedulable="auth.view_group")
def billing(x: int = 1) -> None: ...


@task(aliases=("tests.app.old_name",))
def renamed(x: int = 1) -> None: ...


@task
def declared(x: int) -> None: ...
