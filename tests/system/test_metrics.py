"""``/metrics`` of a real worker, over several processes, some of which have died."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import pytest
from django.conf import settings as django_settings

pytest.importorskip("prometheus_client")
from prometheus_client.parser import text_string_to_metric_families

from tests.app import tasks
from tests.support.asking import ask
from tests.support.workers import RealWorker, wait_for
from tests.system.test_crashes import wait_for_end

pytestmark = pytest.mark.processes

Start = Callable[..., RealWorker]


def counted(port: int) -> dict[tuple[str, str], float]:
    """Runs, by task and outcome."""
    try:
        status, text = ask(port, "/metrics")
    except OSError:
        return {}
    assert status == 200
    return {
        (sample.labels["task"].rpartition(".")[2], sample.labels["outcome"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "taskq_runs_total"
    }


@pytest.mark.parametrize("processes", ["0", "2"])
def test_every_run_is_counted_once_whichever_process_ran_it(
    start_worker: Start, settings_with: Callable[..., dict[str, str]], processes: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = settings_with(INSTALLED_APPS=[*django_settings.INSTALLED_APPS, "taskq_django.contrib.prometheus"])
    worker = start_worker("-p", processes, "--health-port", str(port), env=env).wait_until_ready()
    many, bad = tasks.add.enqueue_many([(number,) for number in range(200)]), tasks.explode.enqueue()
    again = tasks.note_and_retry.enqueue()
    wait_for_end(worker, many[-1], bad, again)
    expected = {
        ("add", "succeeded"): 200.0,
        ("explode", "failed"): 1.0,
        ("note_and_retry", "retried"): 1.0,
        ("note_and_retry", "succeeded"): 1.0,
    }
    wait_for(lambda: counted(port) == expected, what=lambda: f"{counted(port)}\n{worker.output}")
    if processes != "0":
        for pid in worker.children():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "died" in worker.output)
        last = tasks.add.enqueue(1)
        wait_for_end(worker, last)
        expected["add", "succeeded"] += 1
        wait_for(lambda: counted(port) == expected, what=lambda: f"{counted(port)}\n{worker.output}")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
