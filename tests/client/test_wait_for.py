"""Who waits for several jobs at once, and what that costs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from taskq_django import Result, await_for, wait_for
from taskq_django.brokers import Broker, waiting
from taskq_django.compat import TaskResultDoesNotExist, task_backends
from taskq_django.exceptions import ResultTimeout
from taskq_django.jobs import Claim, Succeeded
from taskq_django.models import JobResult, QueuedJob
from taskq_django.results import waiting as parting
from taskq_django.states import State
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.messages import register
from tests.support.redis_servers import Redis, eventually
from tests.support.sending import unused_name

pytestmark = pytest.mark.django_db(transaction=True)

OURS = "taskq_django.TaskqBackend"
ME = "host/me"


def run_one(queue: str = "default") -> None:
    assert run_all(queues=(queue,), limit=1) == 1


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """In another thread, which has ended at the end."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(60)
    assert errors == []


def ids(results: list[Result[Any]]) -> list[str]:
    return [result.id for result in results]


def test_all_are_waited_for_and_come_back_in_the_order_given() -> None:
    results = list(tasks.add.enqueue_many([(1,), (2,), (3,)]))

    with meanwhile(run_all):
        done, left = wait_for(results, timeout=60)

    assert (done, left) == (results, [])
    assert [result.return_value for result in done] == [3, 4, 5]


def test_the_first_end_is_enough() -> None:
    results = [tasks.add.using(queue_name=queue).enqueue(1) for queue in ("a", "b", "c")]

    with meanwhile(lambda: run_one("b")):
        done, left = wait_for(results, timeout=60, return_when="FIRST_COMPLETED")

    assert (ids(done), ids(left)) == ([results[1].id], [results[0].id, results[2].id])
    assert done[0].state is State.SUCCESSFUL


def test_a_failure_ends_the_wait_where_it_is_asked_to() -> None:
    add, explode = tasks.add, tasks.explode.using(queue_name="b")
    results = [add.enqueue(1), explode.enqueue(), add.using(queue_name="c").enqueue(1)]
    run_one()
    done, left = wait_for(results, timeout=0, return_when="FIRST_EXCEPTION")
    assert (ids(done), len(left)) == ([results[0].id], 2), "a success is none"

    with meanwhile(lambda: run_one("b")):
        done, left = wait_for(results, timeout=60, return_when="FIRST_EXCEPTION")

    assert (ids(done), ids(left)) == (ids(results[:2]), [results[2].id])
    assert [error.exception_class_path for error in done[1].errors] == ["builtins.KeyError"]


def test_a_cancelled_job_has_ended_without_success() -> None:
    results = [tasks.add.enqueue(1), tasks.add.enqueue(2)]
    results[1].cancel()
    done, _ = wait_for(results, timeout=60, return_when="FIRST_EXCEPTION")
    assert ids(done) == [results[1].id]


@pytest.mark.parametrize("timeout", [0.05, timedelta(seconds=0.05)], ids=["seconds", "timedelta"])
def test_when_the_time_is_over_it_says_what_it_knows(timeout: Any) -> None:
    results = [tasks.add.enqueue(1), tasks.add.using(queue_name="never").enqueue(2)]
    run_one()
    done, left = wait_for(results, timeout=timeout)
    assert (ids(done), ids(left)) == ([results[0].id], [results[1].id])


def test_nothing_and_what_has_ended_is_not_waited_for(django_assert_num_queries: Any) -> None:
    result = tasks.add.enqueue(1)
    run_all()
    result.refresh()
    with django_assert_num_queries(0):
        assert wait_for([]) == ([], [])
        assert wait_for([result, result]) == ([result, result], [])


def test_another_word_for_when_is_refused_with_the_right_one() -> None:
    with pytest.raises(ValueError, match=r"'FIRST_COMPLETE'.* Did you mean \"FIRST_COMPLETED\"\?"):
        wait_for([], return_when="FIRST_COMPLETE")  # type: ignore[arg-type]


def test_inside_a_transaction_it_says_so_at_once() -> None:
    ended = tasks.add.enqueue(1)
    run_all()
    with transaction.atomic():
        assert ids(wait_for([ended])[0]) == [ended.id]
        with pytest.raises(ResultTimeout, match=r"inside a transaction.* call wait_for\(\) after the atomic block"):
            wait_for([ended, tasks.add.enqueue(2)])


def test_a_success_that_keeps_no_result_has_ended() -> None:
    results = [tasks.forgettable.enqueue(), tasks.add.enqueue(1)]
    run_all()
    done, left = wait_for(results, timeout=60)
    assert (ids(done), left) == (ids(results), [])
    with pytest.raises(TaskResultDoesNotExist):
        done[0].get(timeout=0)


def test_a_look_is_one_query_that_reads_no_text_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parting, "ASKED_AT_ONCE", 40)
    results = list(tasks.add.enqueue_many([(n,) for n in range(100)]))
    with CaptureQueriesContext(connections["default"]) as asked:
        _, left = wait_for(results, timeout=0)
    assert len(left) == 100
    assert len(asked) == 3
    assert not any("payload" in each["sql"] for each in asked.captured_queries)


def test_a_long_wait_looks_four_times_a_second() -> None:
    results = list(tasks.add.enqueue_many([(n,) for n in range(100)]))
    with CaptureQueriesContext(connections["default"]) as asked:
        wait_for(results, timeout=1.5)
    assert len(asked) <= 20


def test_jobs_of_several_backends_are_waited_for_together(settings: Settings, redis_server: Redis) -> None:
    redis_ = {"BACKEND": OURS, "OPTIONS": {"broker": redis_server.url, "name": unused_name()}}
    settings.TASKS = {"default": {"BACKEND": OURS}, "fast": redis_}
    results = [tasks.add.enqueue(1), tasks.add.using(backend="fast").enqueue(2), tasks.add.enqueue(3)]

    with meanwhile(run_all):
        done, left = wait_for(results, timeout=60)

    task_backends["fast"].broker.close()  # type: ignore[attr-defined]
    assert [result.return_value for result in done] == [3, 4, 5]
    assert left == []


def test_a_coroutine_waits_by_the_twin() -> None:
    results = list(tasks.add.enqueue_many([(1,), (2,)]))

    async def wait() -> Any:
        with pytest.raises(SynchronousOnlyOperation, match="await_for"):
            wait_for(results)
        async with asyncio.timeout(60):
            return await await_for(results, timeout=50)

    with meanwhile(run_all):
        done, left = async_to_sync(wait)()
    assert ([result.return_value for result in done], left) == ([3, 4], [])


@pytest.fixture
def broker(redis_server: Redis, patient_transports: None, settings: Settings) -> Iterator[Broker]:
    settings.TASKS = {"default": {"BACKEND": OURS, "OPTIONS": {"broker": redis_server.url, "name": unused_name()}}}
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    register(ME)
    yield broker
    broker.close()


def end(broker: Broker, claim: Claim) -> None:
    now = time.monotonic()
    broker.settle([Succeeded(claim, now, now, "7")], ME)


def test_redis_tells_of_the_end_of_each(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "TOLD", 3600.0)  # nobody looks again who is not woken
    results = list(tasks.add.enqueue_many([(1,), (2,)]))
    claims = broker.claim(["default"], 2, ME)
    watched: set[str] = set()
    watch = broker.watch
    monkeypatch.setattr(broker, "watch", lambda id_, tell: watch(id_, tell) and not watched.add(id_))

    def end_both() -> None:
        for claim in claims:
            eventually(lambda: watched >= set(ids(results)))
            watched.clear()
            end(broker, claim)
            results.pop(0)

    left = list(results)
    with meanwhile(end_both):
        done, _ = wait_for(left, timeout=60)
    assert [result.return_value for result in done] == [7, 7]


def test_a_wait_outlives_an_outage_of_the_engine(broker: Broker, redis_server: Redis) -> None:
    results = list(tasks.add.enqueue_many([(1,), (2,)]))
    claims = broker.claim(["default"], 2, ME)
    redis_server.kill()
    _, left = wait_for(results, timeout=0.2)
    assert len(left) == 2

    for claim in claims:
        end(broker, claim)
    assert [result.return_value for result in wait_for(results, timeout=60)[0]] == [7, 7]


def test_a_job_that_was_purged_is_not_waited_for_for_ever() -> None:
    results = [tasks.add.enqueue(1), tasks.add.enqueue(2)]
    QueuedJob.objects.filter(id=results[0].id).delete()
    done, left = wait_for(results, timeout=0)
    assert (ids(done), ids(left)) == ([results[0].id], [results[1].id])
    assert not JobResult.objects.exists()
