"""The kit for classes of ``unittest``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .kit import TaskqKit
from .routing import without_engines

if TYPE_CHECKING:
    from unittest import TestCase, TestResult
else:
    TestCase = object


class TaskqTestMixin(TestCase):
    """``class CheckoutTests(TaskqTestMixin, TestCase)``: each test has its kit as ``self.taskq``.

    Stands before Django's class. A ``setUp`` of the project's needs no ``super()`` for it.
    """

    taskq: TaskqKit

    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(without_engines())  # for setUpTestData too
        super().setUpClass()

    def run(self, result: TestResult | None = None) -> Any:
        with TaskqKit() as self.taskq:
            return super().run(result)
