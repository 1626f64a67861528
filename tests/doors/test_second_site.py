"""Our pages on an admin site of another name: what leads somewhere leads to that site, as far as it has the page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.test import Client
from django.urls import path, reverse

from taskq_django.admin import (
    DashboardAdmin,
    JobResultAdmin,
    QueueAdmin,
    QueuedJobAdmin,
    ScheduleAdmin,
    TaskAdmin,
    WorkerAdmin,
)
from taskq_django.models import (
    Dashboard,
    JobResult,
    Queue,
    QueuedJob,
    RegisteredTask,
    Schedule,
    WorkerProcess,
)
from taskq_django.models.moments import DatabaseNow
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.schedule_pages import schedule

PAGES = {
    Dashboard: DashboardAdmin,
    Queue: QueueAdmin,
    RegisteredTask: TaskAdmin,
    WorkerProcess: WorkerAdmin,
}
LISTS = {JobResult: JobResultAdmin, QueuedJob: QueuedJobAdmin, Schedule: ScheduleAdmin}

whole, bare = AdminSite("ops"), AdminSite("bare")
for model, its_admin in (PAGES | LISTS).items():
    whole.register(model, its_admin)  # type: ignore[arg-type]
for model, its_admin in PAGES.items():
    bare.register(model, its_admin)  # type: ignore[arg-type]

urlpatterns = [path("ops/", whole.urls), path("bare/", bare.urls)]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@pytest.fixture
def jobs() -> dict[str, str]:
    failed = tasks.explode.enqueue().id
    run_all()
    waiting = tasks.add.using(queue_name="mail").enqueue(1).id
    schedule()
    now = {"started_at": DatabaseNow(), "seen_at": DatabaseNow()}
    boss = WorkerProcess.objects.create(id="boss", name="w", host="", pid=1, state="SERVING", **now)
    WorkerProcess.objects.create(id="child", name="w", host="", pid=2, supervisor=boss, **now)
    running = tasks.add.enqueue(1).id
    QueuedJob.objects.filter(pk=running).update(status="RUNNING", worker_id="child", claimed_at=DatabaseNow())
    return {"failed": failed, "waiting": waiting, "running": running}


def addresses(page: str) -> set[str]:
    """Those that it leads to, but for files and "View site"."""
    found = set(re.findall(r'(?:href|action|data-url)="(/[^"]*)"', page))
    return {each for each in found - {"/"} if "/static/" not in each}


@pytest.mark.parametrize("query", ["", "?_fragment=1"])
@pytest.mark.parametrize("model", [*PAGES, *LISTS])
def test_each_page_leads_to_its_own_site(admin_client: Client, jobs: dict[str, str], model: Any, query: str) -> None:
    name = model._meta.model_name
    page = admin_client.get(reverse(f"ops:taskq_django_{name}_changelist") + query * (model in PAGES))
    assert page.status_code == 200
    assert {each for each in addresses(page.content.decode()) if not each.startswith("/ops/")} == set()


@pytest.mark.parametrize("query", ["", "?_fragment=1"])
@pytest.mark.parametrize("model", PAGES)
def test_a_site_without_lists_has_the_pages(admin_client: Client, jobs: dict[str, str], model: Any, query: str) -> None:
    page = admin_client.get(reverse(f"bare:taskq_django_{model._meta.model_name}_changelist") + query)
    assert page.status_code == 200
    found = addresses(page.content.decode())
    assert {each for each in found if not each.startswith("/bare/")} == set()
    assert not [each for each in found if "/job/" in each or "queuedjob" in each or "jobresult" in each]


@pytest.mark.parametrize("which", ["failed", "waiting", "running"])
def test_the_page_of_a_job_leads_to_its_own_site(admin_client: Client, jobs: dict[str, str], which: str) -> None:
    page = admin_client.get(reverse("ops:taskq_django_job", args=[jobs[which]]))
    assert {each for each in addresses(page.content.decode()) if not each.startswith("/ops/")} == set()
