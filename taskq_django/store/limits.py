"""Limits of a service's own transactions: how long it may wait for a lock, and stop in the middle.

They hold in a transaction and never beyond it. Behind a pooler a session is everybody's: what stayed on it would limit
whoever gets it next.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True)
class Limits:
    idle: float  # seconds that the server waits for the next statement before it ends the session
    wait: float  # seconds to wait for a lock


class _Own(threading.local):
    def __init__(self) -> None:
        self.limits: dict[str, Limits] = {}


_own = _Own()


def limit_transactions(databases: Collection[str], limits: Limits | None) -> None:
    """Limit the calling thread's own transactions from now on, there and nowhere else; None: no more."""
    _own.limits = {} if limits is None else dict.fromkeys(databases, limits)


def is_limited() -> bool:
    """Is the calling thread a service's own?"""
    return bool(_own.limits)


def limits_of(connection: BaseDatabaseWrapper) -> Limits | None:
    """For a transaction that is about to begin; None for one of a caller's, which is not ours to limit."""
    return None if connection.in_atomic_block else _own.limits.get(connection.alias)


# MySQL and MariaDB. By the driver's connection: the statement that sets its variables as they were when it was made.
_usual: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


@contextmanager
def by_variables(connection: Any, limits: Limits) -> Iterator[None]:
    """A transaction within limits where a server has them for whole sessions only: they are put back at its end."""
    connection.ensure_connection()
    names = ["innodb_lock_wait_timeout"]
    if connection.mysql_is_mariadb:  # MySQL does not end what stands still
        names.append("idle_transaction_timeout")
    before = _usual.get(connection.connection)
    if before is None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(f'@@{name}' for name in names)}")
            before = _usual[connection.connection] = _setting(names, cursor.fetchone())
    wanted = _setting(names, [max(1, round(seconds)) for seconds in (limits.wait, limits.idle)][: len(names)])
    with transaction.atomic(using=connection.alias):
        _past_django(connection, wanted)
        try:
            yield
        except BaseException:
            with suppress(Exception):  # where the connection is lost, its session is too
                _past_django(connection, before)
            raise
        commits = connection.mysql_is_mariadb and not connection.needs_rollback
        # At once with the commit: a transaction that is stopped between the two would have no limit.
        _past_django(connection, f"BEGIN NOT ATOMIC COMMIT; {before}; END" if commits else before)


def _setting(names: Sequence[str], values: Sequence[int]) -> str:
    return "SET " + ", ".join(f"SESSION {name} = {value}" for name, value in zip(names, values, strict=True))


def _past_django(connection: Any, statement: str) -> None:
    """By the driver alone: Django refuses all statements in a transaction that has failed."""
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute(statement)
