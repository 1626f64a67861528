"""What ``run_all`` makes of a test that never commits."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from taskq_django.models import QueuedJob
from taskq_django.testing import run_all
from tests.app import kit_tasks as tasks

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(60)]


def test_what_a_task_leaves_for_its_commit_is_called_when_it_has_run() -> None:
    tasks.announcing.enqueue()

    assert run_all() == 2, "with the job that its callback has enqueued"


def test_what_the_test_leaves_for_a_commit_still_waits() -> None:
    transaction.on_commit(tasks.report.enqueue)
    tasks.forgetful.enqueue()

    assert run_all() == 1
    assert not QueuedJob.objects.exists()


def test_a_job_that_breaks_the_transaction_of_the_test_is_undone_and_has_failed() -> None:
    Group.objects.create(name="before")
    job = tasks.clashing.enqueue()

    assert run_all() == 1

    job.refresh()
    assert job.errors[0].exception_class_path.endswith("IntegrityError")
    assert Group.objects.filter(name="before").exists()
