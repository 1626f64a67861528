"""Jobs in a database of their own: ``OPTIONS["broker"]`` = "database://other", with the router and without."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections, router, transaction
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from taskq_django import DatabaseRouter
from taskq_django.exceptions import ConfigurationError
from taskq_django.models import JobResult, QueuedJob
from taskq_django.testing import run_all
from tests.app import tasks

OURS = "taskq_django.TaskqBackend"
ROUTER = "taskq_django.DatabaseRouter"


def in_database(name: str) -> dict[str, Any]:
    return {"BACKEND": OURS, "OPTIONS": {"broker": f"database://{name}"}}


@pytest.fixture
def jobs_elsewhere(settings: Settings) -> None:
    settings.TASKS = {"default": in_database("other")}
    settings.DATABASE_ROUTERS = [ROUTER]


def waiting(database: str) -> int:
    return QueuedJob.objects.using(database).count()


@pytest.mark.django_db(databases=["default", "other"], transaction=True)
@pytest.mark.usefixtures("jobs_elsewhere")
def test_a_job_is_enqueued_in_the_transaction_of_its_own_database() -> None:
    with transaction.atomic(using="other"):
        tasks.add.enqueue(1)
        transaction.set_rollback(True, using="other")
    assert (waiting("default"), waiting("other")) == (0, 0)

    with transaction.atomic():  # of the default database: it is not asked
        tasks.add.enqueue_many([(1,), (2,)])
        transaction.set_rollback(True)
    assert (waiting("default"), waiting("other")) == (0, 2)


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.usefixtures("jobs_elsewhere")
def test_jobs_results_and_the_admin_are_in_the_database_that_the_broker_names(admin_client: Client) -> None:
    good, bad = tasks.add.enqueue(1), tasks.explode.enqueue()
    run_all()
    assert good.get() == 3
    bad.refresh()
    assert bad.status == "FAILED"
    assert JobResult.objects.using("other").count() == 2
    assert [JobResult.objects.count(), QueuedJob.objects.count()] == [2, 0]  # the router leads there
    assert JobResult.objects.using("default").count() == 0

    assert good.id in admin_client.get("/admin/taskq_django/jobresult/").content.decode()
    assert good.id in admin_client.get(reverse("admin:taskq_django_job", args=[good.id])).content.decode()


@pytest.mark.django_db(databases=["default", "other"])
def test_backends_in_two_databases_are_run_by_one_worker(settings: Settings) -> None:
    settings.TASKS = {"default": in_database("default"), "far": in_database("other")}
    near, far = tasks.add.enqueue(1), tasks.add.using(backend="far").enqueue(2)
    assert (waiting("default"), waiting("other")) == (1, 1)
    run_all()
    assert (near.get(), far.get()) == (3, 4)
    assert str(JobResult.objects.using("other").get().id) == far.id


@pytest.mark.parametrize(
    ("brokers", "reads", "migrates"),
    [
        (["database://"], "default", {"default": True, "other": True}),
        (["database://other"], "other", {"default": False, "other": True}),
        (["database://other", "database://default"], "other", {"default": True, "other": True}),
        (["database://", "database://other"], "default", {"default": True, "other": True}),
        (["nonsense"], "default", {"default": True, "other": True}),
    ],
)
def test_the_router_follows_the_brokers(
    brokers: list[str], reads: str, migrates: dict[str, bool], settings: Settings
) -> None:
    settings.TASKS = {f"b{n}": {"BACKEND": OURS, "OPTIONS": {"broker": url}} for n, url in enumerate(brokers)}
    settings.DATABASE_ROUTERS = [ROUTER]
    assert router.db_for_read(JobResult) == router.db_for_write(QueuedJob) == reads
    assert {name: router.allow_migrate_model(name, QueuedJob) for name in migrates} == migrates
    assert router.db_for_write(User) == "default"
    assert DatabaseRouter().allow_migrate("other", "auth") is None


@pytest.mark.django_db
def test_a_database_that_cannot_hold_jobs_is_named_with_those_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connections["default"]), "vendor", "oracle")

    with pytest.raises(ConfigurationError, match=r"DATABASES\['default'\] is oracle.* mysql, postgresql, sqlite"):
        tasks.add.enqueue(1)
