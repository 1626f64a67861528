"""``taskq_enqueue`` on every broker."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from taskq_django.brokers import Broker
from taskq_django.compat import task_backends
from taskq_django.testing import run_all


def test_a_job_that_was_typed_runs_wherever_it_waits(project: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    ids = []
    for flags in ([], ["--queue", "mail"], ["--priority", "9"]):
        call_command("taskq_enqueue", "tests.app.tasks.add", "x=1", "y=5", *flags)
        ids.append(capsys.readouterr().out.strip())

    assert run_all() == 3
    assert [task_backends["default"].get_result(id_).return_value for id_ in ids] == [6, 6, 6]
