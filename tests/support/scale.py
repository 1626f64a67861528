"""How large a long run is: as large as the docs say behind TASKQ_TEST_LONG=1, small in every other run of the tests."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

IS_LONG = bool(os.environ.get("TASKQ_TEST_LONG"))


def scaled(long: T, short: T) -> T:
    return long if IS_LONG else short
