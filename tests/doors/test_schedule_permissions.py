"""Who may do what to schedules in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from taskq_django.models import QueuedJob, Schedule
from tests.app import signatures, tasks  # noqa: F401 - registered by that
from tests.support.schedule_pages import ADD, PREFIX, add, errors_of, schedule, sent, shown, url, user

pytestmark = pytest.mark.django_db

VERBS = ["run", "enable", "disable", "duplicate", "revert"]
NEEDED = {
    "run": "run_schedule",
    "enable": "change_schedule",
    "disable": "change_schedule",
    "duplicate": "add_schedule",
    "revert": "change_schedule",
}


def offered(client: Client) -> str:
    return client.get(url("add")).content.decode().partition('name="task_path"')[2].partition("</select>")[0]


def test_nobody_else_sees_anything(client: Client) -> None:
    row = schedule()
    pages = [url("changelist"), url("add"), url("change", row), url("history", row), url("delete", row)]
    pages += [url("preview"), url("arguments")]
    for address in pages:
        assert client.get(address).status_code == 302
        assert user().get(address).status_code == 403
    for verb in VERBS:
        assert user().post(url(verb, row)).status_code == 403
    assert not QueuedJob.objects.exists()


def test_a_viewer_reads_and_has_no_button(django_assert_max_num_queries: Any) -> None:
    row = schedule(
        task_path=PREFIX + "secretive", kwargs={"user": "ann", "pin": "pin_zz", "password": "hunter2"}, note="a note"
    )
    viewer = user("view_schedule")
    page = viewer.get(url("change", row)).content.decode()
    for part in ("ann", "a note", "0 3 * * *", "••••", "At 03:00"):
        assert part in page
    for part in ("pin_zz", "hunter2", 'name="_save"', 'name="_preview"', 'name="_arguments"', "taskq-tool", "arg-user"):
        assert part not in page
    page = viewer.get(url("changelist")).content.decode()
    assert "nightly" in page
    for part in ("taskq-switch", 'name="action"', "pin_zz"):
        assert part not in page
    assert viewer.get(url("history", row)).status_code == 200


def test_a_viewer_cannot_do_anything() -> None:
    row = schedule()
    before = Schedule.objects.values().get()
    viewer = user("view_schedule")
    for verb in VERBS:
        assert viewer.post(url(verb, row)).status_code == 403
    assert viewer.post(url("change", row), sent(note="x")).status_code == 403
    assert viewer.post(url("add"), sent(name="b")).status_code == 403
    assert viewer.post(url("delete", row), {"post": "yes"}).status_code == 403
    for action in ("run_selected", "enable_selected", "disable_selected", "duplicate_selected", "delete_selected"):
        viewer.post(url("changelist"), {"action": action, "_selected_action": [row.pk], "post": "yes"})
    assert Schedule.objects.values().get() == before
    assert not QueuedJob.objects.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_needs_its_own_permission(verb: str) -> None:
    row = schedule()
    for permission in {"run_schedule", "change_schedule", "add_schedule", "delete_schedule"}:
        answer = user("view_schedule", permission).post(url(verb, row))
        assert answer.status_code == (302 if permission == NEEDED[verb] else 403)


def test_who_may_run_only_gets_that_button_and_no_other() -> None:
    row = schedule()
    page = user("view_schedule", "run_schedule").get(url("change", row)).content.decode()
    assert url("run", row) in page
    for verb in ("enable", "disable", "duplicate", "revert"):
        assert url(verb, row) not in page


def test_who_may_change_only_neither_adds_nor_deletes_nor_runs() -> None:
    row = schedule()
    editor = user("view_schedule", "change_schedule")
    values = {**shown(editor, row), "note": "new"}
    assert editor.post(url("change", row), values).status_code == 302
    row.refresh_from_db()
    assert row.note == "new"
    assert editor.get(url("add")).status_code == 403
    assert editor.post(url("delete", row), {"post": "yes"}).status_code == 403
    assert editor.post(url("run", row)).status_code == 403


def test_who_may_add_only_can_fill_in_the_form() -> None:
    author = user("add_schedule")
    assert author.get(url("add")).status_code == 200
    assert author.get(url("arguments"), {"task": ADD}).status_code == 200
    assert author.get(url("preview"), {"kind": "cron", "spec": "0 3 * * *", "timezone": "UTC"}).status_code == 200
    assert author.post(url("add"), sent()).status_code == 302
    assert Schedule.objects.get().name == "nightly"


def test_who_may_delete_is_told_how_many_runs_go_too(admin_client: Client) -> None:
    row = schedule()
    for _ in range(3):
        admin_client.post(url("run", row))
    page = user("view_schedule", "delete_schedule").get(url("delete", row)).content.decode()
    assert "Runs of schedules: 3" in page
    assert user("view_schedule", "delete_schedule").post(url("delete", row), {"post": "yes"}).status_code == 302
    assert not Schedule.objects.exists()


def test_the_arguments_of_a_task_are_for_editors() -> None:
    assert user("view_schedule").get(url("arguments"), {"task": ADD}).status_code == 403
    assert user("view_schedule").get(url("preview"), {"kind": "cron", "spec": "1 1 * * *"}).status_code == 200


def grant(client: Client, permission: str) -> None:
    app, _, codename = permission.partition(".")
    kind, _ = ContentType.objects.get_or_create(app_label=app, model="anything")
    who = User.objects.get(pk=client.session["_auth_user_id"])
    who.user_permissions.add(Permission.objects.create(content_type=kind, codename=codename, name=codename))


def test_a_task_that_is_never_scheduled_here_is_offered_to_nobody(admin_client: Client) -> None:
    assert "never_here" not in offered(admin_client)
    assert errors_of(add(admin_client, task_path=PREFIX + "never_here"))["task_path"]
    assert (
        "takes no arguments" not in admin_client.get(url("arguments"), {"task": PREFIX + "never_here"}).content.decode()
    )

    row = schedule(task_path=PREFIX + "never_here", kwargs={})
    page = admin_client.get(url("change", row)).content.decode()
    assert 'name="_save"' not in page
    assert "taskq-tool" not in page
    for verb in VERBS:
        assert admin_client.post(url(verb, row)).status_code == 403
    assert admin_client.post(url("change", row), sent()).status_code == 403
    assert admin_client.post(url("delete", row), {"post": "yes"}).status_code == 403


def test_what_only_the_code_schedules_has_a_switch(admin_client: Client) -> None:
    row = schedule(task_path=PREFIX + "never_here", kwargs={}, declared_as=PREFIX + "never_here")
    assert url("disable", row) in admin_client.get(url("change", row)).content.decode()
    for verb, enabled in (("disable", False), ("enable", True)):
        assert admin_client.post(url(verb, row)).status_code == 302
        row.refresh_from_db()
        assert row.enabled is enabled
    assert admin_client.post(url("run", row)).status_code == 403


def test_a_task_may_ask_for_a_permission_of_its_own() -> None:
    row = schedule(task_path=PREFIX + "billing", kwargs={})
    editor = user("view_schedule", "change_schedule", "add_schedule", "run_schedule", "delete_schedule")
    assert "billing" not in offered(editor)
    assert editor.post(url("run", row)).status_code == 403
    assert errors_of(add(editor, task_path=PREFIX + "billing"))["task_path"]

    grant(editor, "auth.view_group")
    assert "billing" in offered(editor)
    assert editor.post(url("run", row)).status_code == 302
    assert add(editor, name="b", task_path=PREFIX + "billing").status_code == 302


def test_actions_leave_out_the_rows_that_one_may_not_touch() -> None:
    mine, theirs = schedule(), schedule(name="bills", task_path=PREFIX + "billing", kwargs={})
    editor = user("view_schedule", "change_schedule", "add_schedule", "run_schedule", "delete_schedule")
    for action in ("run_selected", "disable_selected", "duplicate_selected"):
        data = {"action": action, "_selected_action": [mine.pk, theirs.pk]}
        page = editor.post(url("changelist"), data, follow=True).content.decode()
        assert "You may not do this to “bills”" in page
    theirs.refresh_from_db()
    assert theirs.enabled
    assert sorted(Schedule.objects.values_list("name", flat=True)) == ["bills", "nightly", "nightly (copy)"]
    assert QueuedJob.objects.count() == 1

    data = {"action": "delete_selected", "_selected_action": [mine.pk, theirs.pk], "post": "yes"}
    editor.post(url("changelist"), data)
    assert Schedule.objects.filter(name="bills").exists()


def test_the_settings_name_the_tasks_that_can_be_scheduled(admin_client: Client, settings: Any) -> None:
    settings.TASKQ = {"ADMIN": {"SCHEDULABLE": ["tests.app.tasks.a*"]}}
    page = offered(admin_client)
    assert ADD in page
    assert "tests.app.tasks.echo" not in page
    assert PREFIX not in page


def test_the_settings_name_a_permission_for_all_tasks(settings: Any) -> None:
    settings.TASKQ = {"ADMIN": {"SCHEDULE_PERMISSION": "testapp.may_schedule"}}
    editor = user("view_schedule", "change_schedule", "add_schedule")
    assert ADD not in offered(editor)
    row = schedule()
    assert editor.post(url("disable", row)).status_code == 403
    grant(editor, "testapp.may_schedule")
    assert ADD in offered(editor)
    assert editor.post(url("disable", row)).status_code == 302
