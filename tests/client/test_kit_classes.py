"""The kit in classes of ``unittest``, sync and async."""

from __future__ import annotations

import unittest
from typing import ClassVar

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from django.test import TestCase, TransactionTestCase

from taskq_django import Result
from taskq_django.testing import TaskqTestMixin
from tests.app import kit_tasks as tasks

pytestmark = [pytest.mark.timeout(60)]


class InATransactionOfTheTest(TaskqTestMixin, TestCase):
    before: ClassVar[Result[None]]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.before = tasks.report.enqueue()

    def setUp(self) -> None:
        tasks.charge.enqueue(1, 1)  # and no super()

    def test_what_setup_has_enqueued_is_seen_and_what_the_class_has_is_run(self) -> None:
        self.taskq.assert_enqueued(tasks.charge, args=(1, 1), times=1)
        self.taskq.refute_enqueued(tasks.report)
        assert self.taskq.run_all() == 2

    def test_each_test_has_its_own(self) -> None:
        assert len(self.taskq.enqueued) == 1
        with pytest.raises(AssertionError, match="amount: wanted 2, was 1"):
            self.taskq.assert_enqueued(tasks.charge, args=(1, 2))

    async def test_every_verb_has_its_twin(self) -> None:
        await tasks.areport.aenqueue(3)
        await self.taskq.aassert_enqueued(tasks.areport, args=(3,), times=1)
        await self.taskq.arefute_enqueued(tasks.areport, args=(4,))
        with pytest.raises(SynchronousOnlyOperation, match=r"await ….aassert_enqueued"):
            self.taskq.assert_enqueued(tasks.areport)

        assert await self.taskq.aperform(tasks.areport, 5) == 5
        assert await self.taskq.arun_all() == 3
        job = await tasks.charge.using(run_after=60).aenqueue(1, 1)
        await self.taskq.alose_a_claim(job)
        await self.taskq.aadvance(60)
        assert await self.taskq.arun_all() == 1
        assert len(await self.taskq.atick("kit night")) == 0
        assert len(await self.taskq.aenqueued()) == 4


class WithRealTransactions(TaskqTestMixin, TransactionTestCase):
    def test_what_a_commit_sends_is_seen_after_it(self) -> None:
        with transaction.atomic():
            transaction.on_commit(tasks.report.enqueue)
            self.taskq.refute_enqueued()

        self.taskq.assert_enqueued(tasks.report, times=1)
        with self.taskq.capture_on_commit():
            tasks.announcing.enqueue()
        assert self.taskq.run_all() == 3

    async def test_a_coroutine_runs_where_no_transaction_is(self) -> None:
        assert await self.taskq.aperform(tasks.areport, 5) == 5
        await sync_to_async(self.taskq.refute_enqueued)(tasks.report)


class WithoutDatabase(TaskqTestMixin, unittest.TestCase):
    def test_a_class_that_enqueues_nothing_needs_no_database(self) -> None:
        assert tasks.charge(1, 1) == {"order": 1, "amount": 1}
