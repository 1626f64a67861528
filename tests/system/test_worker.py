"""A real worker, as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings

from taskq_django.models import JobResult, PausedQueue, QueuedJob, WorkerProcess
from taskq_django.states import State
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.servers import is_gone
from tests.support.workers import RealWorker, cut_other_connections, wait_for

Start = Callable[..., RealWorker]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("processes", ["0", "1", "2"])
def test_a_waiting_job_runs_and_a_later_one_too(start_worker: Start, processes: str) -> None:
    early, broken, coroutine = tasks.add.enqueue(1), tasks.explode.enqueue(), tasks.aadd.enqueue(5)
    worker = start_worker("-p", processes).wait_until_ready()
    assert early.get(timeout=60) == 3
    assert coroutine.get(timeout=60) == 7
    assert tasks.add.enqueue(2).get(timeout=60) == 4
    wait_for(lambda: (broken.refresh(), broken.state.is_final)[1])
    wait_for(lambda: f"id={early.id}" in worker.output)
    line = next(line for line in worker.output.splitlines() if early.id in line)
    for part in ("succeeded", "task=tests.app.tasks.add", "wait=", "run=", "INFO"):
        assert part in line
    assert "KeyError" in worker.output
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert not WorkerProcess.objects.exists()


def test_the_banner_says_what_is_in_force(start_worker: Start) -> None:
    worker = start_worker(
        "-p", "2", "-t", "3", "-c", "7", "-Q", "mail,default", "--grace", "9", "--name", "me"
    ).wait_until_ready()
    for part in (
        "me",
        "tests.settings",
        "default -> database",
        "default, mail",
        "2 processes",
        "3 threads, 7 coroutines",
        "grace 9 s",
    ):
        assert part in worker.output
    wait_for(lambda: WorkerProcess.objects.filter(supervisor__isnull=False).count() == 2)
    assert WorkerProcess.objects.get(supervisor=None).name == "me"


def test_burst_ends_when_nothing_is_ready(start_worker: Start) -> None:
    results = tasks.add.enqueue_many([(n,) for n in range(300)])
    tasks.add.using(run_after=timedelta(hours=1)).enqueue(1)
    worker = start_worker("--burst")
    assert worker.wait() == 0
    assert JobResult.objects.filter(status="SUCCESSFUL").count() == 300
    assert results[299].get() == 301
    assert QueuedJob.objects.get().status == "SCHEDULED"


def test_max_tasks_ends_after_so_many(start_worker: Start) -> None:
    tasks.add.enqueue_many([(n,) for n in range(30)])
    assert start_worker("--max-tasks", "7").wait() == 0
    assert JobResult.objects.count() == 7
    assert QueuedJob.objects.filter(status="READY").count() == 23


def test_queues_are_chosen_and_excluded(start_worker: Start) -> None:
    for queue in ("mail", "reports", "default"):
        tasks.add.using(queue_name=queue).enqueue(1)
    assert start_worker("--burst", "-Q", "mail,reports", "-X", "reports").wait() == 0
    assert set(QueuedJob.objects.values_list("queue_name", flat=True)) == {"reports", "default"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("whole_group", [False, True], ids=["supervisor", "group"])
def test_a_stop_finishes_what_runs_and_gives_back_the_rest(
    start_worker: Start, tmp_path: Path, number: int, whole_group: bool
) -> None:
    ledger = tmp_path / "ledger"
    running = tasks.slow_note.enqueue(str(ledger), "a", 1.0)
    others = tasks.slow_note.enqueue_many([(str(ledger), f"b{n}", 1.0) for n in range(20)])
    worker = start_worker("-t", "1").wait_until_ready()
    wait_for(lambda: lines(ledger))
    worker.send_to_group(number) if whole_group else worker.send(number)
    assert worker.wait() == 0, worker.output
    assert "finishing" in worker.output
    running.refresh()
    assert running.state is State.SUCCESSFUL
    left = QueuedJob.objects.all()
    assert {(job.status, job.tries, job.attempts) for job in left} == {("READY", 0, 0)}
    assert JobResult.objects.count() + left.count() == 1 + len(others)
    begun = [line for line in lines(ledger) if "begins" in line]
    assert len(begun) == JobResult.objects.count()


def test_a_grace_that_is_over_gives_the_running_job_back(start_worker: Start, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    job = tasks.slow_note.enqueue(str(ledger), "a", 60)
    worker = start_worker("--grace", "0.3").wait_until_ready()
    wait_for(lambda: lines(ledger))
    worker.send(signal.SIGTERM)
    assert worker.wait() == 3
    job.refresh()
    assert (job.state, job.attempts) == (State.READY, 1)
    assert QueuedJob.objects.get().tries == 0


def test_a_second_signal_stops_at_once(start_worker: Start, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    job = tasks.slow_note.enqueue(str(ledger), "a", 60)
    worker = start_worker().wait_until_ready()
    wait_for(lambda: lines(ledger))
    worker.send(signal.SIGINT)
    wait_for(lambda: "finishing 1 job (25 s)" in worker.output, what=lambda: worker.output)
    worker.send(signal.SIGINT)
    assert worker.wait() == 3
    assert "Told to stop at once" in worker.output
    job.refresh()
    assert job.state is State.READY


@pytest.mark.parametrize("flags", [(), ("-p", "0"), ("-B",)], ids=["supervised", "alone", "with a beat"])
def test_a_terminal_that_closes_stops_it_and_hangs_up_as_often_as_it_likes(
    start_worker: Start, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    ledger = tmp_path / "ledger"
    gate = Gate(tmp_path / "gate")
    job = tasks.gated_note.enqueue(str(ledger), "a", str(gate))
    worker = start_worker(*flags).wait_until_ready()
    wait_for(lambda: lines(ledger))
    for _ in range(2):
        worker.send_to_group(signal.SIGHUP)
        wait_for(lambda: "finishing 1 job" in worker.output, what=lambda: worker.output)
    gate.open()
    assert worker.wait() == 0, worker.output
    job.refresh()
    assert (job.state, job.attempts) == (State.SUCCESSFUL, 1)


def test_a_worker_under_nohup_goes_on_when_the_terminal_closes(start_worker: Start) -> None:
    worker = start_worker(prefix=["nohup"]).wait_until_ready()
    worker.send_to_group(signal.SIGHUP)
    assert tasks.add.enqueue(1).get(timeout=60) == 3
    assert "Stopping" not in worker.output


def test_a_worker_that_is_pid_1_stops_too(start_worker: Start) -> None:
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if (
        os.geteuid() != 0
        or shutil.which("unshare") is None
        or subprocess.run([*unshare, "true"], check=False).returncode
    ):
        assert not os.environ.get("CI"), "CI must be able to make a process PID 1: run it as root on Linux"
        pytest.skip("only root on Linux can make a process PID 1")
    result = tasks.add.enqueue(1)
    worker = start_worker(prefix=unshare)
    assert result.get(timeout=60) == 3
    (first,) = worker.children()
    os.kill(first, signal.SIGTERM)
    assert worker.wait() == 0, worker.output


def test_a_killed_supervisor_takes_its_processes_with_it(start_worker: Start, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    job = tasks.slow_note.enqueue(str(ledger), "a", 0.5)
    worker = start_worker().wait_until_ready()
    wait_for(lambda: lines(ledger))
    (child,) = worker.children()
    worker.send(signal.SIGKILL)
    wait_for(lambda: is_gone(child), what=lambda: worker.output)
    job.refresh()
    assert job.state is State.SUCCESSFUL  # it finished what ran, as for a stop


def test_a_killed_process_is_replaced(start_worker: Start) -> None:
    worker = start_worker().wait_until_ready()
    wait_for(lambda: worker.children())
    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)
    assert tasks.add.enqueue(1).get(timeout=60) == 3
    assert "SIGKILL" in worker.output


def test_a_worker_that_is_full_rests(start_worker: Start, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    jobs = [tasks.slow_note.enqueue(str(ledger), f"{n}", 2.0) for n in range(4)]
    worker = start_worker("-t", "2").wait_until_ready()
    wait_for(lambda: len(lines(ledger)) >= 2, what=lambda: worker.output)
    (child,) = worker.children()

    def busy() -> float:
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = busy()
    assert [job.get(timeout=60) for job in jobs] == ["0", "1", "2", "3"]
    assert busy() - before < 1.5, "seconds of CPU in four seconds in which it only waits"


def test_delayed_jobs_run_when_they_are_due(start_worker: Start) -> None:
    start_worker().wait_until_ready()
    result = tasks.add.using(run_after=timedelta(seconds=0.7)).enqueue(1)
    assert result.get(timeout=60) == 3
    waited = (result.started_at - result.enqueued_at).total_seconds()
    assert 0.7 <= waited < 30, "when it is due, and not much later"


def test_work_of_many_processes_and_enqueuers_is_neither_lost_nor_doubled(start_worker: Start, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    start_worker("-p", "2", "-t", "3").wait_until_ready()
    start_worker("-p", "1", "-t", "2").wait_until_ready()

    def send(name: int) -> None:
        for n in range(40):
            tasks.note.enqueue(str(ledger), f"{name}-{n}")
        tasks.note.enqueue_many([(str(ledger), f"{name}+{n}") for n in range(160)])
        connection.close()

    senders = [threading.Thread(target=send, args=(name,)) for name in range(3)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    wait_for(lambda: JobResult.objects.count() == 600, timeout=60)
    assert len(lines(ledger)) == len(set(lines(ledger))) == 600
    assert set(JobResult.objects.values_list("status", "attempts")) == {("SUCCESSFUL", 1)}


def test_a_job_sees_what_its_enqueuers_transaction_wrote(start_worker: Start) -> None:
    start_worker().wait_until_ready()
    for number in range(20):
        with transaction.atomic():
            result = tasks.is_paused.enqueue(f"queue{number}")
            PausedQueue.objects.create(backend="default", queue_name=f"queue{number}")
        assert result.get(timeout=60) is True


def test_without_its_tables_a_worker_says_migrate(start_worker: Start, tmp_path: Path) -> None:
    env = {"TASKQ_TEST_DB": "sqlite", "TASKQ_TEST_NAME": str(tmp_path / "empty.sqlite3")}
    worker = start_worker("--connect-timeout", "1", env=env)
    assert worker.wait() == 1
    assert worker.output.count("manage.py migrate taskq_django --database default") == 2
    assert "Traceback" not in worker.output


def test_a_database_that_is_down_is_waited_for_and_then_given_up(start_worker: Start) -> None:
    env = {"TASKQ_TEST_DB": "postgresql", "TASKQ_TEST_POSTGRESQL": "postgresql://nobody@127.0.0.1:9/nothing"}
    worker = start_worker("--connect-timeout", "1.5", env=env)
    assert worker.wait() == 69
    assert worker.output.count("next try in") >= 2
    assert "Traceback" not in worker.output


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--threads", "0"], "--threads"),
        (["--threads", "four"], "--threads"),
        (["-Q", ""], "--queues"),
        (["-Q", "a b"], "--queues"),
        (["--grace", "nan"], "--grace"),
        (["--max-tasks", "0"], "--max-tasks"),
    ],
)
def test_a_wrong_flag_is_named(start_worker: Start, flags: list[str], named: str) -> None:
    worker = start_worker(*flags)
    assert worker.wait() == 2
    assert named in worker.output
    assert "Traceback" not in worker.output


def test_an_unknown_backend_is_named(db: None) -> None:
    with pytest.raises(CommandError, match=r"no backend 'fast'.*it has 'default'"):
        call_command("taskq_worker", "--backend", "fast", "--burst")


@pytest.mark.django_db(databases=["default", "other"], transaction=True)
def test_a_worker_serves_the_database_that_the_broker_names(start_worker: Start, tmp_path: Path) -> None:
    elsewhere = {"default": {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": {"broker": "database://other"}}}
    (tmp_path / "elsewhere.py").write_text(f"from tests.settings import *\nTASKS = {elsewhere!r}\n")
    start_worker(env={"DJANGO_SETTINGS_MODULE": "elsewhere", "PYTHONPATH": str(tmp_path)}).wait_until_ready()
    with override_settings(TASKS=elsewhere):
        assert tasks.add.enqueue(1).get(timeout=60) == 3
    assert (WorkerProcess.objects.using("other").count(), WorkerProcess.objects.count()) == (2, 0)


@pytest.mark.django_db(transaction=True)
def test_p_0_runs_in_the_calling_process() -> None:
    result = tasks.add.enqueue(1)
    call_command("taskq_worker", processes=0, burst=True, verbosity=0)
    assert result.get() == 3


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server that could cut connections")
def test_a_worker_whose_connections_are_cut_goes_on_by_itself(start_worker: Start) -> None:
    worker = start_worker("-p", "2").wait_until_ready()
    for _ in range(3):
        assert tasks.is_paused.enqueue("x").get(timeout=60) is False
        assert cut_other_connections() > 0
    assert tasks.is_paused.enqueue("x").get(timeout=60) is False
    assert "next try in" in worker.output
    assert "Traceback" not in worker.output
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


def test_the_log_can_be_json(start_worker: Start) -> None:
    result = tasks.add.enqueue(1)
    worker = start_worker("--burst", "--log-format", "json")
    assert worker.wait() == 0
    lines_ = [json.loads(line) for line in worker.output.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines_ if line.get("job_id") == result.id]
    assert (line["level"], line["task"], line["attempt"]) == ("INFO", "tests.app.tasks.add", 1)


def test_what_tasks_print_is_there_once_after_a_stop(start_worker: Start) -> None:
    said = [tasks.say.enqueue(f"said {number}") for number in range(3)]
    worker = start_worker("-p", "2", env={"PYTHONUNBUFFERED": ""}).wait_until_ready()
    wait_for(lambda: JobResult.objects.count() == len(said), what=lambda: worker.output)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert [worker.output.count(f"said {number}\n") for number in range(3)] == [1, 1, 1]


def test_where_it_cannot_fork_the_worker_spawns_its_processes(start_worker: Start, tmp_path: Path) -> None:
    # A thread that a module of the project starts makes a fork unsafe.
    (tmp_path / "threaded_settings.py").write_text(
        "import threading\nfrom tests.settings import *\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    ledger = tmp_path / "ledger"
    job = tasks.slow_note.enqueue(str(ledger), "a", 0.5)
    env = {"DJANGO_SETTINGS_MODULE": "threaded_settings", "PYTHONPATH": f"{tmp_path}{os.pathsep}."}
    worker = start_worker("-p", "2", env=env).wait_until_ready()
    wait_for(lambda: lines(ledger), what=lambda: worker.output)
    assert tasks.add.enqueue(1).get(timeout=60) == 3
    assert f"id={job.id}" in worker.output or job.get(timeout=60)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.output
    assert "Traceback" not in worker.output
