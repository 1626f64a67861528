"""The task of django-vtasks."""

from __future__ import annotations

from django_vtasks import task

from . import marks


@task
def noop(n: int) -> None:
    marks.noop(n)
