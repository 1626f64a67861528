"""What the address of a list of ours can ask for: its filters, its search, its columns, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import path, reverse

from taskq_django.admin import JobResultAdmin, QueuedJobAdmin, ScheduleAdmin
from taskq_django.models import JobAttempt, JobResult, QueuedJob, Schedule, ScheduleRun
from tests.app import tasks
from tests.support.schedule_pages import schedule, user

pytestmark = pytest.mark.django_db

LISTS = ("jobresult", "queuedjob", "schedule")
VIEWS = ("view_jobresult", "view_queuedjob", "view_schedule")
OURS = {JobResult: JobResultAdmin, QueuedJob: QueuedJobAdmin, Schedule: ScheduleAdmin}

second_site = AdminSite("second")
for model, its_admin in OURS.items():
    second_site.register(model, its_admin)
urlpatterns = [path("admin/", admin.site.urls), path("second/", second_site.urls)]


def changelist(model: str, site: str = "admin") -> str:
    return reverse(f"{site}:taskq_django_{model}_changelist")


@pytest.fixture
def rows() -> None:
    """One row in each list, with the same secret in all that is stored of it."""
    schedule(kwargs={"password": "hunter2", "x": 1}, args=["hunter2"])
    sent = tasks.log_in.enqueue("ann", "hunter2", options={}, pin="hunter2")
    waiting = QueuedJob.objects.get(id=sent.id)
    JobResult.objects.create(
        task_path=waiting.task_path,
        backend="default",
        queue_name="default",
        priority=0,
        status="FAILED",
        enqueued_at=waiting.enqueued_at,
        finished_at=waiting.enqueued_at,
        payload=waiting.payload,
        headers='{"metadata":{"a":"hunter2"}}',
        return_value='"hunter2"',
        message="hunter2",
        exception_class="builtins.KeyError",
    )


def every_lookup() -> list[tuple[type[Any], str]]:
    """Each field of each list (and what is reached from it) by each kind of lookup."""
    annotations = {"jobresult": ["shown_payload", "shown_message"]}
    found = []
    for model in (JobResult, QueuedJob, Schedule):
        more = annotations.get(str(model._meta.model_name), [])
        fields = [field.name for field in model._meta.get_fields()] + more
        for field in [*fields, "pk", "runs__job_id", "kwargs__password", "id__in"]:
            found += [
                (model, f"{field}{kind}") for kind in ("", "__exact", "__startswith", "__contains", "__regex", "__year")
            ]
    return found


def test_no_field_of_ours_is_a_lookup(admin_user: User) -> None:
    request = RequestFactory().get("/")
    request.user = admin_user
    filters = {"status", "enabled", "task", "queue", "state"}
    for model, lookup in every_lookup():
        for site in (admin.site, second_site):
            its_admin = site.get_model_admin(model)
            assert its_admin.lookup_allowed(lookup, "h", request) is (lookup in filters), (model, lookup)


@pytest.mark.parametrize("query", ["nothing=1", "0=1", "utm_source=mail"])
def test_what_names_nothing_is_ignored(rows: None, query: str) -> None:
    viewer = user(*VIEWS)
    for model in LISTS:
        answer = viewer.get(f"{changelist(model)}?{query}", follow=True)
        assert answer.context["cl"].result_count == 1


@pytest.mark.parametrize(
    "query",
    [
        "kwargs__password__startswith=h",
        "kwargs__contains=x",
        "payload__startswith=[[",
        "headers__contains=a",
        "return_value__startswith=h",
        "message__regex=(a%2B)%2B$",
        "enqueued_at__year=99999999999",
        "queue_name=default",
        "created_at__gte=0",
        "runs__slot__year=2026",
        "status=FAILED&payload__contains=hunter2",
        "__=1",
    ],
)
def test_a_lookup_is_refused_before_any_row_is_read(rows: None, query: str, django_assert_max_num_queries: Any) -> None:
    viewer = user(*VIEWS)
    for model in LISTS:
        with django_assert_max_num_queries(4) as captured:  # the session, its user and what that may
            assert viewer.get(f"{changelist(model)}?{query}").status_code == 400
        assert not any("taskq_django_" in each["sql"].partition("WHERE")[0] for each in captured)


@pytest.mark.urls(__name__)
def test_a_second_site_refuses_them_too(rows: None) -> None:
    viewer = user(*VIEWS)
    for model in LISTS:
        assert viewer.get(changelist(model, "second")).status_code == 200
        for query in ("pk__gte=0", "payload__contains=hunter2", "kwargs__password=hunter2"):
            assert viewer.get(f"{changelist(model, 'second')}?{query}").status_code == 400


VALUES = [
    *("", "0", "-1", "1", "999999999999999999999", "abc", "1.1", "-", ".", "--1", "9" * 5000, "\0", "\x00x", "é", "😀"),
    *("%", "'", '"', "\\", "a" * 60_000, " ".join("ab" * 2000), ".".join(["1"] * 4000), ".".join(["-5", "5"] * 2000)),
]


@pytest.mark.parametrize(
    "name", ["o", "p", "q", "all", "e", "_popup", "_facets", "_changelist_filters", "status", "task", "queue"]
)
def test_whatever_a_parameter_of_the_page_says_is_answered(rows: None, name: str) -> None:
    viewer = user(*VIEWS)
    for model in LISTS:
        if model == "schedule" and name in {"status", "queue"}:
            continue
        for value in VALUES:
            answer = viewer.get(changelist(model), {name: value}, follow=True)
            assert answer.status_code in {200, 400 if name.startswith("_c") else 200}, (model, name, value[:20])


@pytest.mark.parametrize("name", ["enabled", "state", "task"])
def test_whatever_a_filter_of_schedules_says_is_answered(rows: None, name: str) -> None:
    viewer = user("view_schedule")
    for value in VALUES:
        assert viewer.get(changelist("schedule"), {name: value}).status_code == 200, value[:20]


def test_a_page_number_beyond_the_last_leads_back(admin_client: Client, settings: Any) -> None:
    settings.TASKQ = {"ADMIN": {"PAGE_SIZE": 2}}
    tasks.add.enqueue_many([(n,) for n in range(5)])
    for number in ("3", "x", "-1", "0", "99999999999999999999"):
        assert admin_client.get(changelist("queuedjob"), {"p": number}, follow=True).status_code == 200


@pytest.mark.parametrize("model", LISTS)
def test_no_field_but_the_key_can_be_picked_in_a_popup(rows: None, model: str) -> None:
    viewer = user(*VIEWS)
    for name in ("payload", "kwargs", "headers", "message", "nothing"):
        answer = viewer.get(changelist(model), {"_popup": "1", "_to_field": name})
        assert answer.status_code == 400
    answer = viewer.get(changelist(model), {"_popup": "1", "_to_field": "id"})
    assert answer.status_code == 200
    assert "hunter2" not in answer.content.decode()


def test_the_search_finds_nothing_by_what_is_masked(rows: None) -> None:
    viewer = user(*VIEWS)
    for model in LISTS:
        for term in ("hunter2", "hunter", '"hunter2"', "pin=hunter2", "ann hunter2", "error:hunter", "metadata"):
            answer = viewer.get(changelist(model), {"q": term})
            assert answer.context["cl"].result_count == 0, (model, term)


class MoreFilters(JobResultAdmin):
    """A project's own, with filters that Django makes of fields."""

    list_filter = (*JobResultAdmin.list_filter, "queue_name", ("attempts", admin.AllValuesFieldListFilter))
    date_hierarchy = "finished_at"


def test_the_filters_that_a_project_adds_work(admin_user: User) -> None:
    its_admin = MoreFilters(JobResult, admin.site)
    request = RequestFactory().get("/")
    request.user = admin_user
    for name in ("queue_name", "attempts", "attempts__isnull", "status", "task", "finished_at__year"):
        assert its_admin.lookup_allowed(name, "1", request), name
    for name in ("payload__contains", "queue_name__regex", "finished_at__gte", "attempts__gt"):
        assert not its_admin.lookup_allowed(name, "1", request), name


def test_what_a_foreign_keys_popup_is_opened_with_is_let_through(
    admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Schedule._meta, "related_fkey_lookups", [{"kind": "cron"}, lambda: {"enabled": "yes"}])
    request = RequestFactory().get("/")
    its_admin = ScheduleAdmin(Schedule, admin.site)
    assert its_admin.lookup_allowed("kind", "cron", request)
    assert not its_admin.lookup_allowed("kind", "once", request)


class RunAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A project's, of a model that leads to schedules."""

    list_filter = ("by_hand",)


def test_a_relation_to_our_models_is_no_way_round(admin_user: User) -> None:
    request = RequestFactory().get("/")
    request.user = admin_user
    its_admin = RunAdmin(ScheduleRun, admin.site)
    for name in ("schedule__kwargs__password__startswith", "schedule__note__contains", "schedule__args__0"):
        assert not its_admin.lookup_allowed(name, "h", request), name


@pytest.mark.parametrize("ids", [["abc"], ["9" * 30], [""], ["1", "x"], ["\0"]])
@pytest.mark.parametrize("action", ["run_selected", "delete_selected", "nothing", ""])
def test_an_action_on_rows_that_cannot_be_is_answered(rows: None, ids: list[str], action: str) -> None:
    operator = user("view_schedule", "change_schedule", "run_schedule", "delete_schedule", "add_schedule")
    for more in ({}, {"select_across": "1"}, {"index": "9" * 5000}):
        answer = operator.post(changelist("schedule"), {"action": action, "_selected_action": ids, **more})
        assert answer.status_code in {200, 302}
    assert not JobAttempt.objects.exists()


@pytest.mark.parametrize(("model", "more"), [("jobresult", set()), ("queuedjob", {"rank", "available_at"})])
def test_an_address_sorts_jobs_by_few_columns_only(rows: None, model: str, more: set[str]) -> None:
    viewer = user(*VIEWS)
    columns = [str(number) for number in range(10)]
    for order in (*columns, ".".join(columns), "-6.2"):
        changes = viewer.get(changelist(model), {"o": order}).context["cl"]
        assert {name.strip("-") for name in changes.queryset.query.order_by} <= {"id", "pk", *more}, order


@pytest.mark.parametrize("order", [".".join(["1"] * 4000), ".".join(["-4", "4"] * 2000)])
def test_an_address_sorts_by_each_column_once(rows: None, order: str) -> None:
    viewer = user(*VIEWS)
    for model in LISTS:
        changes = viewer.get(changelist(model), {"o": order}).context["cl"]
        assert len(changes.queryset.query.order_by) <= 3, model
