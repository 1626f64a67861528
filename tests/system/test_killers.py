"""Floods of jobs that kill their processes: the jobs behind them go on, and the killers end beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from django.conf import settings as django_settings

from taskq_django.models import JobResult
from taskq_django.states import State
from tests.app import tasks
from tests.support.late_app import LateApp
from tests.support.ledger import Ledger
from tests.support.workers import RealWorker, wait_for
from tests.system.test_crashes import has_ended

Start = Callable[..., RealWorker]

# Seconds. On a quiet machine they need a tenth of it; behind all the killers of a flood they would need hours.
WITHIN = 200

KILLERS = """
import os, signal

pytestmark = pytest.mark.processes

@task
def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

@task
async def akill() -> None:
    os._exit(0)

@task(rerun_on_crash=False)
def kill_once() -> None:
    os.abort()

@task(timeout=60, max_attempts=5, store_result=False)
def kill_in_time() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(7)
"""


def check_innocents_go_on(worker: RealWorker, ledger: Ledger, task: object = tasks.ledgered) -> set[int]:
    """Returns in how many attempts they have ended."""
    innocents = task.enqueue_many([(str(ledger.path), 0.01)] * 50)  # type: ignore[attr-defined]
    wait_for(lambda: all(map(has_ended, innocents)), timeout=WITHIN, what=lambda: worker.output)
    assert {job.state for job in innocents} == {State.SUCCESSFUL}
    return {job.attempts for job in innocents}


def test_innocents_behind_a_flood_of_killers_do_not_wait_for_them(start_worker: Start, ledger: Ledger) -> None:
    tasks.die.enqueue_many([("SIGKILL",)] * 3000)
    assert check_innocents_go_on(start_worker(), ledger) == {1}
    assert ledger.duplicated() == 0


def test_innocents_on_redis_do_not_wait_for_a_flood_either(
    start_worker: Start, ledger: Ledger, on_redis: dict[str, str]
) -> None:
    tasks.die.enqueue_many([("SIGKILL",)] * 3000)
    assert check_innocents_go_on(start_worker(env=on_redis), ledger, tasks.aledgered) == {1}
    assert ledger.duplicated() == 0


def test_a_flood_of_several_tasks_is_no_worse(
    start_worker: Start, ledger: Ledger, tmp_path: Path, settings_with: Callable[..., dict[str, str]]
) -> None:
    late = LateApp(tmp_path)
    names = ("kill", "akill", "kill_once", "kill_in_time", "never")
    for number in range(2):
        late.write(f"killers{number}", KILLERS)
    late.write("never", "import os; os._exit(9)\n\n@task\ndef never() -> None: ...\n")
    for number in range(2):
        for name in names[:4]:
            late.enqueue(f"killers{number}.{name}", 100)
    late.enqueue("never.never", 100)
    worker = start_worker("-p", "2", env=settings_with(INSTALLED_APPS=[*django_settings.INSTALLED_APPS, "late"]))
    assert check_innocents_go_on(worker, ledger) == {1}
    assert ledger.duplicated() == 0


def test_killers_end_after_three_beside_innocents_that_come_and_go(start_worker: Start, ledger: Ledger) -> None:
    worker = start_worker().wait_until_ready()
    killers = tasks.die.enqueue_many([("exit code 7",)] * 3)
    for number in range(5):
        attempts = check_innocents_go_on(worker, ledger)
        # Some may have been running beside a killer before it was known for one: at two deaths, and never at a third.
        assert max(attempts) <= (3 if number < 4 else 1), number
    wait_for(lambda: all(map(has_ended, killers)), timeout=WITHIN, what=lambda: worker.output)
    assert {(job.state, job.attempts) for job in killers} == {(State.FAILED, 3)}
    assert set(JobResult.objects.filter(id__in=[job.id for job in killers]).values_list("crashes", flat=True)) == {3}
