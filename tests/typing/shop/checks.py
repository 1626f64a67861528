"""How the project tests itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_type

from django.test import TestCase

from taskq_django.testing import Enqueued, TaskqKit, TaskqTestMixin, run_all

from .tasks import add, fetch, send


def test_with_pytest(taskq: TaskqKit, moment: datetime) -> None:
    assert_type(taskq.assert_enqueued(add, args=(1,), kwargs={"y": 2}, times=1), list[Enqueued])
    taskq.refute_enqueued(send, queue_name="mail", run_after=timedelta(hours=1))
    taskq.refute_enqueued()
    assert_type(taskq.perform(add, 1, y=3), int)
    assert_type(taskq.perform(fetch, "/"), bytes)
    assert_type(taskq.run_all(limit=3), int)
    assert_type(run_all(queues=("mail",)), int)
    assert_type(taskq.tick(add, at=moment), list[Enqueued])
    taskq.advance(60)
    taskq.advance(to=moment)
    taskq.fail_next_run(fetch, ConnectionError("away"))
    taskq.lose_a_claim(add.enqueue(1))
    taskq.lose_a_claim(taskq.enqueued[0])
    with taskq.capture_on_commit():
        add.enqueue(1)


class ShopTests(TaskqTestMixin, TestCase):
    async def test_in_a_class(self) -> None:
        assert_type(await self.taskq.aperform(add, 1), int)
        await self.taskq.aassert_enqueued(add, args=(1,), times=1)
        assert_type(await self.taskq.arun_all(), int)


def mistakes(taskq: TaskqKit) -> None:
    taskq.perform(add, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    taskq.perform(add)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    taskq.assert_enqueued("add")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    taskq.assert_enqueued(add, arg=(1,))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
