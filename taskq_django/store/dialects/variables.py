"""Limits of a transaction on MySQL and MariaDB, which have them as variables of the session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

from django.db import transaction

from ..limits import Limits

# By the driver's connection: the statement that sets its variables as they were when it was made.
_usual: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


@contextmanager
def by_variables(connection: Any, limits: Limits) -> Iterator[None]:
    """A transaction within limits: the variables are put back at its end."""
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
