"""What this process does not know: its module is imported first; what stays unknown is neither allowed nor shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from taskq_django import task
from taskq_django.beat.firing import run_now
from taskq_django.jobs import headers_of
from taskq_django.models import JobResult, QueuedJob, Schedule
from taskq_django.registry import registry
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.schedule_pages import add, change, errors_of, raw, schedule, user
from tests.support.schedule_pages import sent as form_sent
from tests.support.schedule_pages import url as schedule_url

pytestmark = [pytest.mark.pages, pytest.mark.django_db]

LATE = "tests.app.late"
GONE = ["tests.app.gone.pay", "tests.app.tasks.gone", "elsewhere.tasks.pay", "tests..x", "nodots", "tests.app.\u00e9.x"]
EVERYTHING = ("view_schedule", "change_schedule", "add_schedule", "run_schedule", "delete_schedule")
VERBS = ("run", "enable", "disable", "duplicate", "revert")
ACTIONS = ("run_selected", "enable_selected", "disable_selected", "duplicate_selected", "delete_selected")
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a web process that has not imported the module."""
    monkeypatch.setattr(registry, "_tasks", {p: t for p, t in registry._tasks.items() if not p.startswith(LATE)})
    monkeypatch.setattr(registry, "_in_vain", {})
    monkeypatch.setattr(registry, "duplicates", [])
    monkeypatch.delitem(sys.modules, LATE, raising=False)
    yield
    sys.modules.pop(LATE, None)


def everything_done(client: Client, row: Schedule) -> None:
    """Each act there is, by each door there is."""
    for verb in VERBS:
        client.post(schedule_url(verb, row))
        client.post(f"{schedule_url(verb, row)}?_list")
    for action in ACTIONS:
        data = {"action": action, "_selected_action": [row.pk], "post": "yes"}
        client.post(schedule_url("changelist"), data)
        client.post(schedule_url("changelist"), {**data, "select_across": "1", "index": "0"})
        client.post(schedule_url("change", row), data)
        client.post(schedule_url("change", row), {f"change_form-{name}": value for name, value in data.items()})
    client.post(schedule_url("change", row), form_sent(name="mine", task_path=row.task_path))
    client.post(schedule_url("change", row), form_sent(name="mine"))
    client.post(schedule_url("delete", row), {"post": "yes"})


def assert_untouched(before: list[Any]) -> None:
    assert list(Schedule.objects.order_by("pk").values()) == before
    assert not QueuedJob.objects.exists()


@pytest.mark.parametrize("path", [f"{LATE}.bill", f"{LATE}.only_code"])
@pytest.mark.parametrize("enabled", [True, False])
def test_a_permission_of_a_tasks_own_is_asked_though_its_module_was_not_imported(path: str, enabled: bool) -> None:
    row = raw(schedule(enabled=enabled), task_path=path, kwargs={})
    before = list(Schedule.objects.values())
    everything_done(user(*EVERYTHING), row)
    assert_untouched(before)
    for verb in VERBS:
        assert user(*EVERYTHING).post(schedule_url(verb, row)).status_code == 403


def test_who_has_that_permission_may_do_so_at_once() -> None:
    row = raw(schedule(), task_path=f"{LATE}.bill", kwargs={})
    editor = user(*EVERYTHING)
    who = User.objects.get(pk=editor.session["_auth_user_id"])
    who.user_permissions.add(Permission.objects.get(codename="view_group"))
    assert LATE not in sys.modules
    assert editor.post(schedule_url("run", row)).status_code == 302
    assert QueuedJob.objects.get().task_path == f"{LATE}.bill"


@pytest.mark.parametrize("path", GONE)
@pytest.mark.parametrize("declared_as", ["", "code"])
def test_what_stays_unknown_is_allowed_to_nobody(path: str, declared_as: str) -> None:
    row = raw(schedule(), task_path=path, declared_as=declared_as)
    before = list(Schedule.objects.values())
    everything_done(user(*EVERYTHING), row)
    assert_untouched(before)
    page = user(*EVERYTHING).get(schedule_url("change", row)).content.decode()
    for part in ('name="_save"', "taskq-tool", "deletelink"):
        assert part not in page
    assert "taskq-switch" not in user(*EVERYTHING).get(schedule_url("changelist")).content.decode()


def test_a_superuser_can_clear_away_what_is_unknown_and_start_none_of_it(admin_client: Client) -> None:
    rows = [raw(schedule(name=path), task_path=path) for path in GONE[:3]]
    for row in rows:
        assert admin_client.post(schedule_url("duplicate", row)).status_code == 403
        assert admin_client.post(schedule_url("revert", row)).status_code == 403
        admin_client.post(schedule_url("run", row))
        assert admin_client.post(schedule_url("disable", row)).status_code == 302
        assert admin_client.post(schedule_url("enable", row)).status_code == 403
        row.refresh_from_db()
        assert not row.enabled
    assert not QueuedJob.objects.exists()
    assert change(admin_client, rows[0], task_path="tests.app.tasks.add", **{"arg-x": "3"}).status_code == 302
    assert admin_client.post(schedule_url("delete", rows[1]), {"post": "yes"}).status_code == 302
    assert not Schedule.objects.filter(pk=rows[1].pk).exists()


def test_what_a_user_types_is_not_imported() -> None:
    editor = user(*EVERYTHING)
    assert errors_of(add(editor, task_path=f"{LATE}.pay"))["task_path"]
    editor.get(schedule_url("arguments"), {"task": f"{LATE}.pay"})
    editor.get(schedule_url("changelist"), {"task": f"{LATE}.pay", "q": f"{LATE}.pay"})
    assert LATE not in sys.modules


def test_a_module_that_cannot_be_imported_is_not_tried_for_each_row(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    monkeypatch.setattr(registry, "_import_module_of", tried.append)
    for number in range(5):
        raw(schedule(name=f"s{number}"), task_path="tests.app.gone.pay")
    for _ in range(3):
        assert admin_client.get(schedule_url("changelist")).status_code == 200
    assert len(tried) == 1


# --- secrets ---------------------------------------------------------------------------------------------------------


def lists_and_page(client: Client, id_: str) -> str:
    """All that is shown of a job, whichever table it is in."""
    found = [client.get(reverse(f"admin:taskq_django_{name}_changelist")) for name in ("queuedjob", "jobresult")]
    found.append(client.get(reverse("admin:taskq_django_job", args=[id_])))
    assert [answer.status_code for answer in found] == [200] * 3
    return "".join(answer.content.decode() for answer in found)


def late_pay() -> Any:
    import importlib

    return importlib.import_module(LATE).pay


CALLS = [
    (("ann", SECRET), {}),
    (("ann",), {"pin": SECRET}),
    ((), {"user": "ann", "pin": SECRET, "amount": 3, "x": 1}),
]


def forget(*ids: str, path: str = "tests.app.gone.pay") -> None:
    for table in (QueuedJob, JobResult):
        table.objects.filter(id__in=ids).update(task_path=path)


@pytest.mark.parametrize(("args", "kwargs"), CALLS)
@pytest.mark.parametrize("path", [f"{LATE}.pay", *GONE[:3]])
@pytest.mark.parametrize("end", ["waits", "ended", "retried"])
def test_a_secret_is_masked_wherever_the_code_is(
    admin_client: Client, args: Any, kwargs: Any, path: str, end: str
) -> None:
    sent = late_pay().enqueue(*args, **kwargs)
    if end != "waits":
        run_all()
    if end == "retried":
        JobResult.objects.filter(id=sent.id).update(status="FAILED")
        late_pay().get_result(sent.id).retry()
    forget(sent.id, path=path)
    registry._tasks = {p: t for p, t in registry._tasks.items() if not p.startswith(LATE)}
    page = lists_and_page(admin_client, sent.id)
    assert SECRET not in page
    assert "ann" in page
    assert "••••" in page


def test_names_that_the_settings_call_secret_are_masked_by_position_too(admin_client: Client) -> None:
    sent = tasks.log_in.enqueue("ann", SECRET, options={"a": 1}, pin="pin_zz")
    forget(sent.id)
    page = lists_and_page(admin_client, sent.id)
    assert SECRET not in page
    assert "pin_zz" not in page
    assert "ann" in page


@task(sensitive=["rest", "more"])
def starred(first: int, *rest: str, last: int = 0, **more: str) -> None: ...


def test_starred_parameters_are_masked_without_the_code(admin_client: Client) -> None:
    sent = starred.enqueue(1, SECRET, SECRET, last=2, y=SECRET)
    forget(sent.id)
    page = lists_and_page(admin_client, sent.id)
    assert SECRET not in page
    assert "last=2" in page


@pytest.mark.parametrize("path", GONE)
@pytest.mark.parametrize(
    "headers", ["", '{"metadata":{"a":1}}', "[]", "{", '{"sensitive":1}', '{"sensitive":{"names":[]}}']
)
def test_a_job_that_tells_nothing_of_a_task_that_is_unknown_is_masked_whole(
    admin_client: Client, path: str, headers: str
) -> None:
    sent = tasks.echo.enqueue(SECRET)
    QueuedJob.objects.update(headers=headers, payload=f'[["{SECRET}"],{{"{SECRET}":1}}]')
    forget(sent.id, path=path)
    assert SECRET not in lists_and_page(admin_client, sent.id)


@pytest.mark.parametrize(("path", "is_shown"), [("tests.app.tasks.echo", True), *((path, False) for path in GONE)])
def test_the_return_value_of_such_a_job_is_masked_too(admin_client: Client, path: str, is_shown: bool) -> None:
    sent = tasks.echo.enqueue(1)
    run_all()
    JobResult.objects.update(return_value=f'{{"x": "{SECRET}"}}')
    forget(sent.id, path=path)
    assert (SECRET in lists_and_page(admin_client, sent.id)) is is_shown


@pytest.mark.parametrize("headers", ["[]", "{", '{"metadata":"' + "x" * 10_000 + '"'])
def test_headers_that_cannot_be_read_mask_all(admin_client: Client, headers: str) -> None:
    sent = tasks.echo.enqueue(SECRET)
    QueuedJob.objects.update(headers=headers)
    assert SECRET not in lists_and_page(admin_client, sent.id)


@pytest.mark.parametrize("now", [(), ("amount",)], ids=["taken back", "another"])
def test_a_declaration_that_was_changed_since_masks_both(
    admin_client: Client, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pay = late_pay()
    sent = pay.enqueue("ann", SECRET, amount=987_654)
    object.__setattr__(registry.find(pay.module_path), "sensitive", now)
    page = lists_and_page(admin_client, sent.id)
    assert SECRET not in page
    assert ("987654" in page) is ("amount" not in now)


def test_a_parameter_that_was_renamed_since_is_masked_by_its_old_name(admin_client: Client) -> None:
    sent = late_pay().enqueue("ann", SECRET)
    forget(sent.id, path="tests.app.tasks.add")  # whose parameters are x and y
    assert SECRET not in lists_and_page(admin_client, sent.id)


def test_jobs_of_schedules_tell_it_too(admin_client: Client) -> None:
    row = schedule(task_path=late_pay().module_path, kwargs={"user": "ann", "pin": SECRET})
    id_ = run_now(row, "default").job.id
    forget(id_)
    assert SECRET not in lists_and_page(admin_client, id_)


@pytest.mark.parametrize("path", GONE)
def test_the_arguments_of_a_schedule_whose_task_is_unknown_are_masked_whole(path: str, admin_client: Client) -> None:
    row = raw(schedule(), task_path=path, args=[SECRET], kwargs={"x": SECRET})
    for client in (user("view_schedule"), user(*EVERYTHING), admin_client):
        for what in ("change", "delete", "history"):
            assert SECRET not in client.get(schedule_url(what, row)).content.decode()
        assert SECRET not in client.get(schedule_url("changelist")).content.decode()


@pytest.mark.parametrize(("args", "kwargs"), [([], {"code": SECRET}), (["ann", "x", SECRET], {})])
def test_an_argument_that_no_parameter_takes_any_more_is_masked(
    args: list[str], kwargs: dict[str, str], admin_client: Client
) -> None:
    row = raw(schedule(), task_path="tests.app.tasks.log_in", args=args, kwargs=kwargs)
    for client in (user("view_schedule"), admin_client):
        assert SECRET not in client.get(schedule_url("change", row)).content.decode()


def test_other_jobs_carry_nothing_of_it() -> None:
    sent = tasks.add.enqueue(1)
    assert QueuedJob.objects.get(id=sent.id).headers == ""
    told = tasks.log_in.using(metadata={"a": 1}).enqueue("ann", "x", options={}, pin="y")
    headers = headers_of(QueuedJob.objects.get(id=told.id).headers)
    assert headers == {
        "sensitive": {"names": ["pin"], "parameters": ["user", "password", "*", "options", "pin"]},
        "metadata": {"a": 1},
    }
    assert told.metadata == {"a": 1} == tasks.log_in.get_result(told.id).metadata
