"""Tasks in a module that nothing imports before somebody asks for one of them."""

from __future__ import annotations

from typing import Any

from taskq_django import task


@task(schedulable="auth.view_group")
def bill(x: int = 1) -> None: ...


@task(schedulable=False)
def only_code(x: int = 1) -> None: ...


@task(sensitive=["pin"])
def pay(user: str, pin: str, *, amount: int = 1, **more: Any) -> None: ...
