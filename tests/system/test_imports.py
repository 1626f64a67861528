"""The module of a task is imported in the seat of its job: what it does harms that job, and nobody else."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from taskq_django.models import JobResult, QueuedJob
from taskq_django.states import State
from taskq_django.worker.supervisor import FIRST_WAIT
from taskq_django.worker.wards import REST
from tests.app import tasks
from tests.support.late_app import LateApp
from tests.support.ledger import Ledger
from tests.support.workers import RealWorker, wait_for
from tests.system.test_crashes import LOST, wait_for_end

pytestmark = pytest.mark.once

Start = Callable[..., RealWorker]


@pytest.fixture
def late(tmp_path: Path) -> LateApp:
    return LateApp(tmp_path)


@pytest.fixture
def with_it(late: LateApp, settings_with: Callable[..., dict[str, str]]) -> dict[str, str]:
    return settings_with(INSTALLED_APPS=[*django_settings.INSTALLED_APPS, "late"])


def ended(*ids: str) -> bool:
    return JobResult.objects.filter(id__in=ids).count() == len(ids)


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os; os._exit(9)", "exit code 9"),
        ("import os; os._exit(0)", "exit code 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    ],
)
def test_a_module_that_ends_the_process_costs_its_own_job_three_lives_and_no_other_one(
    start_worker: Start, late: LateApp, with_it: dict[str, str], ledger: Ledger, code: str, how: str
) -> None:
    late.write("deadly", f"{code}\n\n@task\ndef never() -> None: ...\n")
    (culprit,) = late.enqueue("deadly.never")
    others = tasks.ledgered.enqueue_many([(str(ledger.path), 0.05)] * 20)
    worker = start_worker(env=with_it)
    wait_for(lambda: ended(culprit), what=lambda: worker.output)
    wait_for_end(worker, *others)
    result = JobResult.objects.get(id=culprit)
    assert (result.status, result.attempts, result.crashes) == (State.FAILED, 3, 3)
    assert result.exception_class == LOST
    assert how in result.message
    assert {other.state for other in others} == {State.SUCCESSFUL}
    assert worker.output.count("died") == 3


@pytest.mark.parametrize(
    "what", ["KeyboardInterrupt", "GeneratorExit", "SystemExit(2)", "type('X', (BaseException,), {})"]
)
def test_a_module_that_raises_anything_fails_its_job_and_no_process_dies(
    start_worker: Start, late: LateApp, with_it: dict[str, str], what: str
) -> None:
    late.write("rude", f"raise {what}\n\n@task\ndef never() -> None: ...\n")
    ids = late.enqueue("rude.never", 6)
    after = tasks.add.enqueue(1)
    worker = start_worker("-t", "2", env=with_it)
    wait_for(lambda: ended(*ids), what=lambda: worker.output)
    wait_for_end(worker, after)
    assert set(JobResult.objects.filter(id__in=ids).values_list("status", "attempts")) == {("FAILED", 1)}
    assert "died" not in worker.output


def test_a_slow_import_keeps_nobody_waiting(
    start_worker: Start, late: LateApp, with_it: dict[str, str], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    late.write(
        "slow",
        f"""
        from pathlib import Path

        Gate({str(gate)!r}).wait()

        @task
        def done() -> int:
            return 1

        @task
        async def adone() -> int:
            return 2
        """,
    )
    slow = [*late.enqueue("slow.done", 2), *late.enqueue("slow.adone", 2)]
    worker = start_worker("-t", "6", env=with_it).wait_until_ready()
    wait_for(lambda: QueuedJob.objects.filter(status=State.RUNNING).count() == 4, what=lambda: worker.output)
    others = [tasks.add.enqueue(1), tasks.aadd.enqueue(2), tasks.spin.enqueue()]
    wait_for_end(worker, *others)  # claimed, run, limited in time and settled meanwhile
    assert not ended(*slow)
    gate.touch()
    wait_for(lambda: ended(*slow), what=lambda: worker.output)
    values = JobResult.objects.filter(id__in=slow).values_list("status", "return_value", "attempts")
    assert sorted(values) == [("SUCCESSFUL", "1", 1)] * 2 + [("SUCCESSFUL", "2", 1)] * 2


def test_no_job_runs_in_a_module_that_is_half_there(
    start_worker: Start, late: LateApp, with_it: dict[str, str], tmp_path: Path
) -> None:
    gate, reached = tmp_path / "gate", tmp_path / "reached"
    late.write(
        "slow",
        f"""
        from pathlib import Path

        @task
        def done() -> int:
            return VALUE

        @task
        async def adone() -> int:
            return VALUE

        Path({str(reached)!r}).touch()
        Gate({str(gate)!r}).wait()
        VALUE = 1
        """,
    )
    first = late.enqueue("slow.adone")
    worker = start_worker("-t", "4", env=with_it).wait_until_ready()
    wait_for(reached.exists, what=lambda: worker.output)
    ids = [*first, *late.enqueue("slow.done", 10), *late.enqueue("slow.adone", 10)]
    quick = tasks.add.enqueue(1)
    wait_for(lambda: QueuedJob.objects.filter(status=State.RUNNING).count() > 1, what=lambda: worker.output)
    gate.touch()
    wait_for(lambda: ended(*ids), what=lambda: worker.output)
    wait_for_end(worker, quick)
    assert set(JobResult.objects.filter(id__in=ids).values_list("status", "return_value")) == {("SUCCESSFUL", "1")}


def test_a_module_that_is_half_there_keeps_no_coroutine_waiting(
    start_worker: Start, late: LateApp, with_it: dict[str, str], tmp_path: Path
) -> None:
    gate, reached = tmp_path / "gate", tmp_path / "reached"
    late.write(
        "slow",
        f"""
        from pathlib import Path

        @task
        async def adone() -> int:
            return 2

        Path({str(reached)!r}).touch()
        Gate({str(gate)!r}).wait()
        """,
    )
    slow = late.enqueue("slow.adone")
    worker = start_worker("-t", "4", env=with_it).wait_until_ready()
    wait_for(reached.exists, what=lambda: worker.output)
    slow += late.enqueue("slow.adone")  # its task is known by now, and waits for its module as the first one does
    wait_for(lambda: QueuedJob.objects.filter(status=State.RUNNING).count() == 2, what=lambda: worker.output)
    wait_for_end(worker, tasks.aadd.enqueue(1))
    assert not ended(*slow)
    gate.touch()
    wait_for(lambda: ended(*slow), what=lambda: worker.output)


@pytest.mark.parametrize("what", ["ImportError", "SystemExit", "KeyboardInterrupt"])
def test_what_a_module_has_left_that_failed_is_not_run(
    start_worker: Start, late: LateApp, with_it: dict[str, str], what: str
) -> None:
    late.write("broken", f"@task\ndef done() -> int:\n    return 1\n\nraise {what}('later')\n")
    ids = [*late.enqueue("broken.done", 3)]
    worker = start_worker("-t", "2", env=with_it)
    wait_for(lambda: ended(*ids), what=lambda: worker.output)
    assert set(JobResult.objects.values_list("status", "attempts")) == {("FAILED", 1)}
    assert all("later" in message for message in JobResult.objects.values_list("message", flat=True))


def test_a_stop_during_an_import_gives_the_job_back(
    start_worker: Start, late: LateApp, with_it: dict[str, str], tmp_path: Path
) -> None:
    gate, reached = tmp_path / "gate", tmp_path / "reached"
    late.write(
        "slow",
        f"""
        from pathlib import Path

        Path({str(reached)!r}).touch()
        Gate({str(gate)!r}).wait()

        @task
        async def adone() -> int:
            return 2
        """,
    )
    (job,) = late.enqueue("slow.adone")
    worker = start_worker("--grace", "30", env=with_it).wait_until_ready()
    wait_for(reached.exists, what=lambda: worker.output)
    worker.send(signal.SIGTERM)
    wait_for(lambda: "finishing 1 job" in worker.output, what=lambda: worker.output)
    gate.touch()
    assert worker.wait() == 0, worker.output
    row = QueuedJob.objects.get(id=job)
    assert (row.status, row.attempts, row.tries) == ("READY", 0, 0)


def test_tasks_of_modules_that_come_late_keep_their_options(
    start_worker: Start, late: LateApp, with_it: dict[str, str], ledger: Ledger
) -> None:
    late.write(
        "careful",
        """
        import asyncio, os, signal

        @task(rerun_on_crash=False, takes_context=True)
        def once(context, path: str) -> None:
            ledger.write(path, context.task_result.id, context.attempt, "start")
            os.kill(os.getpid(), signal.SIGKILL)

        @task(rerun_on_crash=False, takes_context=True)
        async def aonce(context, path: str) -> None:
            ledger.write(path, context.task_result.id, context.attempt, "start")
            os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    ids = [late.enqueue(f"careful.{name}", payload=f'[["{ledger.path}"],{{}}]')[0] for name in ("once", "aonce")]
    worker = start_worker("-t", "1", env=with_it)
    wait_for(lambda: ended(*ids), what=lambda: worker.output)
    assert set(JobResult.objects.values_list("status", "attempts", "exception_class")) == {("FAILED", 1, LOST)}
    assert ledger.started() == 2


def test_processes_that_die_by_every_job_are_started_again_with_waits(
    start_worker: Start, late: LateApp, with_it: dict[str, str]
) -> None:
    late.write("deadly", "import os; os._exit(9)\n\n@task\ndef never() -> None: ...\n")
    late.enqueue("deadly.never", 4)
    worker = start_worker("-t", "1", env=with_it)
    wait_for(lambda: not QueuedJob.objects.exists(), timeout=200, what=lambda: worker.output)
    assert worker.output.count("died: exit code 9") == 12
    _, second, *later = worker.seconds_between_deaths()  # after its first one it is started at once
    assert second >= FIRST_WAIT, second
    assert all(waited >= REST for waited in later), later  # by then each job has a process of its own, one at a time
    assert os.kill(worker.process.pid, 0) is None
