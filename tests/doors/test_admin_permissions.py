"""Every address of our pages × everybody who may come to it: what each may see and do, in one table."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, reverse

from taskq_django.admin import JobResultAdmin, QueuedJobAdmin, ScheduleAdmin
from taskq_django.admin.job_verbs import VERBS
from taskq_django.models import JobResult, QueuedJob, Schedule
from taskq_django.testing import run_all
from tests.app import signatures, tasks
from tests.support.schedule_pages import schedule, sent, user

pytestmark = [pytest.mark.pages, pytest.mark.django_db]

PERMISSIONS = (
    *("view_jobresult", "view_queuedjob", "view_schedule"),
    *("add_schedule", "change_schedule", "delete_schedule", "run_schedule"),
    *("view_dashboard", "view_queue", "view_registeredtask", "view_workerprocess"),
    *("control_queue", "purge_queue", "enqueue_task", "control_worker"),
    *("view_payload", "retry_job", "cancel_job", "reschedule_job", "delete_jobresult"),
)
# Beside view_schedule, which Django's own acts on rows need too.
VIEWS = {name for name in PERMISSIONS if name.startswith("view_")}
READ = {"view_schedule", "change_schedule"}
LOGIN, OK, MOVED, NO, MISSING = 302, 200, 302, 403, 404

# address: (who of PERMISSIONS may GET it, the answer, who may POST to it, the answer); the others get 403.
ADDRESSES: dict[str, tuple[set[str], int, set[str], int]] = {
    "jobresult_changelist": ({"view_jobresult"}, OK, {"view_jobresult"}, OK),
    "jobresult_add": (set(), OK, set(), OK),
    "jobresult_change": ({"view_jobresult"}, MOVED, {"view_jobresult"}, MOVED),
    "jobresult_delete": ({"view_jobresult"}, MOVED, {"view_jobresult"}, MOVED),
    "jobresult_history": ({"view_jobresult"}, OK, {"view_jobresult"}, OK),
    "queuedjob_changelist": ({"view_queuedjob"}, OK, {"view_queuedjob"}, OK),
    "queuedjob_add": (set(), OK, set(), OK),
    "queuedjob_change": ({"view_queuedjob"}, MOVED, {"view_queuedjob"}, MOVED),
    "queuedjob_delete": ({"view_queuedjob"}, MOVED, {"view_queuedjob"}, MOVED),
    "queuedjob_history": ({"view_queuedjob"}, OK, {"view_queuedjob"}, OK),
    "job of a result": ({"view_jobresult"}, OK, {"view_jobresult"}, OK),
    "job of a queue": ({"view_queuedjob"}, OK, {"view_queuedjob"}, OK),
    "job of none": ({"view_jobresult", "view_queuedjob"}, MISSING, {"view_jobresult", "view_queuedjob"}, MISSING),
    "schedule_changelist": (READ, OK, READ, OK),
    "schedule_add": ({"add_schedule"}, OK, {"add_schedule"}, MOVED),
    "schedule_change": (READ, OK, {"change_schedule"}, OK),
    "schedule_delete": ({"delete_schedule"}, OK, {"delete_schedule"}, MOVED),
    "schedule_history": (READ, OK, READ, OK),
    "schedule_preview": ({*READ, "add_schedule"}, OK, {*READ, "add_schedule"}, OK),
    "schedule_arguments": ({"change_schedule", "add_schedule"}, OK, {"change_schedule", "add_schedule"}, OK),
    # A GET only leads back to the list.
    "schedule_run": (set(PERMISSIONS), MOVED, {"run_schedule"}, MOVED),
    "schedule_enable": (set(PERMISSIONS), MOVED, {"change_schedule"}, MOVED),
    "schedule_disable": (set(PERMISSIONS), MOVED, {"change_schedule"}, MOVED),
    "schedule_duplicate": (set(PERMISSIONS), MOVED, {"add_schedule"}, MOVED),
    "schedule_revert": (set(PERMISSIONS), MOVED, {"change_schedule"}, MOVED),
    "dashboard_changelist": ({"view_dashboard"}, OK, {"view_dashboard"}, OK),
    "queue_changelist": ({"view_queue"}, OK, {"view_queue"}, OK),
    "queue_pause": (set(PERMISSIONS), MOVED, {"control_queue"}, MOVED),
    "queue_resume": (set(PERMISSIONS), MOVED, {"control_queue"}, MOVED),
    "queue_purge": (set(PERMISSIONS), MOVED, {"purge_queue"}, MOVED),
    "registeredtask_changelist": ({"view_registeredtask"}, OK, {"view_registeredtask"}, OK),
    "registeredtask_run": ({"view_registeredtask", "enqueue_task"}, OK, {"enqueue_task"}, MOVED),
    "workerprocess_changelist": ({"view_workerprocess"}, OK, {"view_workerprocess"}, OK),
    "workerprocess_act": (set(PERMISSIONS), MOVED, {"control_worker"}, MOVED),
}
GET_FOR_ALL_STAFF = {name for name, (who, *_) in ADDRESSES.items() if who == set(PERMISSIONS)}


@pytest.fixture
def addresses() -> dict[str, str]:
    ended = tasks.add.enqueue(1)
    run_all()
    waiting = tasks.add.enqueue(1)
    keys: dict[str, Any] = {"jobresult": ended.id, "queuedjob": waiting.id, "schedule": schedule().pk}
    keys["registeredtask"] = tasks.add.module_path
    found = {
        "job of a result": reverse("admin:taskq_django_job", args=[ended.id]),
        "job of a queue": reverse("admin:taskq_django_job", args=[waiting.id]),
        "job of none": reverse("admin:taskq_django_job", args=[uuid4()]),
    }
    for name in ADDRESSES.keys() - found.keys():
        model, _, what = name.partition("_")
        of_all = what in {"changelist", "add", "preview", "arguments", "pause", "resume", "purge", "act"}
        found[name] = reverse(f"admin:taskq_django_{name}", args=[] if of_all else [keys[model]])
    return found


def asked(client: Client, method: str, address: str) -> int:
    data = sent(name="by matrix", post="yes") if method == "post" else {}
    status: int = getattr(client, method)(address, data).status_code
    return status


def test_the_table_has_every_address() -> None:
    names = set()
    ours = [model for model in admin.site._registry if model._meta.app_label == "taskq_django"]
    assert len(ours) == 7
    for model in ours:
        for pattern in admin.site.get_model_admin(model).get_urls():
            assert isinstance(pattern, URLPattern)
            if pattern.name:  # Django's own redirect of an old address has none
                names.add(pattern.name.removeprefix("taskq_django_"))
    # What is done to one job asks for two permissions: test_job_verbs.
    verbs = {f"job_{verb}" for verb in (*VERBS, "again")}
    assert names == {*(name for name in ADDRESSES if not name.startswith("job of")), "job", *verbs}


def test_a_stranger_is_sent_to_the_login(client: Client, addresses: dict[str, str]) -> None:
    for name in ADDRESSES:
        for method in ("get", "post"):
            answer = getattr(client, method)(addresses[name])
            assert (answer.status_code, "/login/" in answer.url) == (LOGIN, True), name


def test_a_user_who_is_no_staff_is_sent_to_the_login(client: Client, addresses: dict[str, str]) -> None:
    client.force_login(User.objects.create_user("customer"))
    for name in ADDRESSES:
        for method in ("get", "post"):
            assert "/login/" in getattr(client, method)(addresses[name]).url, name


def test_staff_without_rights_gets_nowhere(addresses: dict[str, str]) -> None:
    nobody = user()
    before = list(Schedule.objects.values())
    for name in ADDRESSES:
        assert asked(nobody, "get", addresses[name]) == (MOVED if name in GET_FOR_ALL_STAFF else NO), name
        assert asked(nobody, "post", addresses[name]) == NO, name
    assert list(Schedule.objects.values()) == before
    assert QueuedJob.objects.count() == 1


@pytest.mark.parametrize("permission", PERMISSIONS)
@pytest.mark.parametrize("name", ADDRESSES)
def test_one_permission_opens_its_own_doors_only(permission: str, name: str, addresses: dict[str, str]) -> None:
    may_get, got, may_post, posted = ADDRESSES[name]
    somebody = user(permission)
    before = Schedule.objects.values().get(), QueuedJob.objects.count()
    assert asked(somebody, "get", addresses[name]) == (got if permission in may_get else NO)
    assert (Schedule.objects.values().get(), QueuedJob.objects.count()) == before
    assert asked(somebody, "post", addresses[name]) == (posted if permission in may_post else NO)
    if permission not in may_post:
        assert (Schedule.objects.values().get(), QueuedJob.objects.count()) == before


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_viewer_reads_and_changes_nothing(name: str, addresses: dict[str, str]) -> None:
    may_get, got, may_post, posted = ADDRESSES[name]
    viewer = user(*VIEWS)
    before = Schedule.objects.values().get(), QueuedJob.objects.count()
    assert asked(viewer, "get", addresses[name]) == (got if may_get & VIEWS else NO)
    assert asked(viewer, "post", addresses[name]) == (posted if may_post & VIEWS else NO)
    assert (Schedule.objects.values().get(), QueuedJob.objects.count()) == before


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_superuser_may_do_all_that_can_be_done(name: str, addresses: dict[str, str], admin_client: Client) -> None:
    may_get, got, may_post, posted = ADDRESSES[name]
    assert asked(admin_client, "get", addresses[name]) == (got if may_get else NO)
    assert asked(admin_client, "post", addresses[name]) == (posted if may_post else NO)


@pytest.mark.parametrize("name", [name for name in ADDRESSES if name.startswith("schedule")])
def test_a_tasks_own_permission_is_asked_at_every_door(name: str, addresses: dict[str, str]) -> None:
    Schedule.objects.update(task_path=signatures.billing.module_path, kwargs={})
    editor = user(*PERMISSIONS)
    before = Schedule.objects.values().get(), QueuedJob.objects.count()
    if name not in {
        "schedule_add",
        "schedule_changelist",
        "schedule_history",
        "schedule_preview",
        "schedule_arguments",
    }:
        assert asked(editor, "post", addresses[name]) == NO
    assert (Schedule.objects.values().get(), QueuedJob.objects.count()) == before


def test_every_action_on_rows_asks_for_a_permission() -> None:
    """Django offers one that asks for none to whoever sees the list."""
    ours = [each for model, each in admin.site._registry.items() if model._meta.app_label == "taskq_django"]
    actions = [action for each in ours if each.actions is not None for action in each._get_base_actions()]
    assert len(actions) > 4
    for action in actions:
        function = getattr(action, "func", None) or action[0]  # a tuple before Django 6.1
        assert getattr(function, "allowed_permissions", None), function.__name__


def test_nothing_is_done_without_the_token_of_the_form(admin_user: User, addresses: dict[str, str]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    before = list(Schedule.objects.values()), QueuedJob.objects.count(), JobResult.objects.count()
    for name, address in addresses.items():
        assert asked(client, "post", address) == NO, name
    assert (list(Schedule.objects.values()), QueuedJob.objects.count(), JobResult.objects.count()) == before


class NoResults(JobResultAdmin):
    """A project's own, which lets nobody see results."""

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        return False


def test_the_page_of_a_job_asks_the_admin_of_its_list(
    admin_client: Client, addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = {JobResult: NoResults, QueuedJob: QueuedJobAdmin, Schedule: ScheduleAdmin}
    for model, its_admin in registered.items():
        monkeypatch.setitem(admin.site._registry, model, its_admin(model, admin.site))
    assert asked(admin_client, "get", addresses["job of a result"]) == NO
    assert asked(admin_client, "get", addresses["job of a queue"]) == OK
