"""What a test of a project does with jobs that wait in Redis."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from taskq_django.models import WorkerProcess
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.redis_servers import Redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(60, func_only=True)]


def test_jobs_that_wait_in_redis_are_run(redis_server: Redis, settings: Settings) -> None:
    options = {"broker": redis_server.url}
    settings.TASKS = {"default": {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": options}}

    for _ in range(2):  # and not the first time only
        handle = tasks.add.enqueue(1, 2)
        assert run_all() == 1
        assert handle.get(timeout=0) == 3
    assert not WorkerProcess.objects.exists()
