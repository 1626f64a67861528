"""What a small task of a project does: it reads a row by the ORM, and writes it."""

from __future__ import annotations

from . import marks

USERS = 1000


def add_users() -> None:
    from django.contrib.auth.models import User

    User.objects.bulk_create([User(id=n + 1, username=f"user{n}") for n in range(USERS)], ignore_conflicts=True)


def read_and_write(n: int) -> None:
    from django.contrib.auth.models import User

    marks.began(n)
    user = User.objects.get(pk=n % USERS + 1)
    user.last_name = f"seen by {n}"
    user.save(update_fields=["last_name"])
    marks.ended(n)
