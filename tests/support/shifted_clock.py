"""Becomes a process's ``sitecustomize``: its wall clock is wrong by TASKQ_TEST_SHIFT seconds from the first import on.

Or by what is written in the file of that name, at any moment.
The monotonic clock and the operating system's are as they were.
"""

import datetime
import os
import time
from typing import Any

given = os.environ["TASKQ_TEST_SHIFT"]
real, real_time, real_time_ns = datetime.datetime, time.time, time.time_ns


def shift() -> float:
    if "/" not in given:
        return float(given)
    with open(given) as file:  # noqa: PTH123 - nothing is to be imported here
        return float(file.read() or 0)


class AnyDatetime(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, real)


class Shifted(real, metaclass=AnyDatetime):  # type: ignore[misc,valid-type]
    """Makes real ones."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return real(*args, **kwargs)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return real.now(tz) + datetime.timedelta(seconds=shift())

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now(datetime.UTC).replace(tzinfo=None)


time.time = lambda: real_time() + shift()
time.time_ns = lambda: real_time_ns() + int(shift() * 1e9)
datetime.datetime = Shifted  # type: ignore[misc]
