"""What an error of a database says: that the data is at fault, that another transaction was faster, or neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import DataError, IntegrityError, ProgrammingError

from ...exceptions import BrokerError, BrokerUnavailable, OutcomeRefused, one_line
from ...jobs import Outcome, weight_of
from ...store.connections import code_of, lacks_table
from ...store.weights import LIGHT

# What the data is at fault for, though it is raised as what an outage is.
# MariaDB and MySQL: broken or refused text in JSON (4035 to 4042, 3140, 3141), a packet over max_allowed_packet (1153;
# 2020 by the driver), a character that the connection's set lacks (1366), text that is too long (1406).
DATA_AT_FAULT = frozenset({1153, 1366, 1406, 2020, 3140, 3141, *range(4035, 4043)})
OVER_A_LIMIT = "54"  # how PostgreSQL's code of what is over one of its limits begins
# PostgreSQL: too large for its memory, or for one allocation; or there is something wrong with the server.
TOO_LARGE_PERHAPS = frozenset({"53200", "XX000"})

# By these a database says that it will never take what it was given; the last are of a driver, before it asks.
REFUSALS = (DataError, IntegrityError, ProgrammingError, OverflowError, TypeError, ValueError)


def explain_missing_table(error: Exception, database: str) -> None:
    """Raises BrokerError if that is what is wrong."""
    if lacks_table(error):
        raise BrokerError(
            f"The tables of taskq_django in DATABASES[{database!r}] are missing or older than the code: "
            f"run `manage.py migrate taskq_django --database {database}`. ({one_line(error)})"
        ) from error


def is_the_datas_fault(error: Exception) -> bool:
    code = code_of(error)
    return code in DATA_AT_FAULT or (isinstance(code, str) and code.startswith(OVER_A_LIMIT))


def lost_a_race(error: Exception) -> bool:
    """A serialization failure, a deadlock, a lock that was waited for in vain, or SQLite's one writer being busy."""
    return code_of(error) in {"40001", "40P01", 1213, 1205, 1020} or "database is locked" in str(error)


@contextmanager
def refusals(outcomes: Sequence[Outcome], database: str) -> Iterator[None]:
    """Round their writing: raises OutcomeRefused where the database will never take one of them."""
    which = "what came of this job" if len(outcomes) == 1 else "what came of one of these jobs"
    try:
        yield
    except REFUSALS as error:
        raise OutcomeRefused(f"DATABASES[{database!r}] refuses {which}: {one_line(error)}") from error
    except BrokerUnavailable as error:
        # Tried with fewer, down to one: where something small is refused too, it is an outage.
        small = len(outcomes) == 1 and weight_of(outcomes[0]) <= LIGHT
        if small or code_of(error.__cause__) not in TOO_LARGE_PERHAPS:
            raise
        raise OutcomeRefused(f"DATABASES[{database!r}] refuses {which}: {one_line(error)}") from error
