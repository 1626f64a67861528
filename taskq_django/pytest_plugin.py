"""The fixture ``taskq``. Every pytest of a venv with this package loads this file, so it imports no Django."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import TaskqKit


@pytest.fixture
def taskq(db: None) -> Iterator[TaskqKit]:
    """What this test enqueues, and the verbs to check it and to run it: ``taskq_django.testing.TaskqKit``.

    With the mark ``django_db(transaction=True)`` it works in the transactions of the test.
    """
    from .testing import TaskqKit

    with TaskqKit() as kit:
        yield kit
