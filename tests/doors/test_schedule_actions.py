"""Run now, enable, disable, duplicate, revert: of one schedule and of many."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from taskq_django import cron
from taskq_django.beat import declared
from taskq_django.models import QueuedJob, Schedule, ScheduleRun
from taskq_django.registry import registry
from taskq_django.testing import run_all
from tests.app import signatures, tasks  # noqa: F401 - registered by that
from tests.support.schedule_pages import ADD, PREFIX, add, change, raw, schedule, shown, texts, url, user

pytestmark = pytest.mark.django_db

VERBS = ["run", "enable", "disable", "duplicate", "revert"]


def history(row: Schedule) -> list[str]:
    entries = LogEntry.objects.filter(object_id=str(row.pk)).order_by("pk")
    return [entry.get_change_message() for entry in entries]


def act(client: Client, action: str, *rows: Schedule) -> Any:
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(url("changelist"), data, follow=True)


def test_run_now_enqueues_the_stored_arguments_once_and_moves_nothing(admin_client: Client) -> None:
    row = schedule(kwargs={"x": 40}, queue_name="mail", priority=5)
    before = Schedule.objects.values().get()
    answer = admin_client.post(url("run", row), follow=True)
    job = QueuedJob.objects.get()
    assert (job.task_path, job.payload, job.queue_name, job.rank) == (row.task_path, '[[],{"x":40}]', "mail", -5)
    assert Schedule.objects.values().get() == before
    run = ScheduleRun.objects.get()
    assert (str(run.job_id), run.by_hand) == (str(job.pk), True)
    page = answer.content.decode()
    assert str(job.pk) in page
    assert "by hand" in page
    assert history(row) == [f"Run now: job {job.pk}"]

    run_all()
    assert "Successful" in admin_client.get(url("change", row)).content.decode()


@pytest.mark.parametrize("enabled", [True, False])
def test_run_now_works_for_a_disabled_schedule_too(admin_client: Client, enabled: bool) -> None:
    admin_client.post(url("run", schedule(enabled=enabled)))
    assert QueuedJob.objects.count() == 1


def test_what_cannot_run_now_says_why_and_leaves_nothing(admin_client: Client) -> None:
    row = raw(schedule(), task_path="shop.tasks.gone")
    answer = admin_client.post(url("run", row), follow=True)
    assert any("cannot run" in text and "shop.tasks.gone" in text for text in texts(answer))
    row = raw(schedule(name="b"), kwargs={"x": 1, "nope": 1})
    answer = admin_client.post(url("run", row), follow=True)
    assert any("nope" in text for text in texts(answer))
    assert not QueuedJob.objects.exists()
    assert not ScheduleRun.objects.exists()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_a_get_changes_nothing(admin_client: Client, verb: str) -> None:
    row = schedule()
    before = Schedule.objects.values().get()
    answer = admin_client.get(url(verb, row))
    assert (answer.status_code, answer.url) == (302, url("changelist"))  # type: ignore[attr-defined]
    assert Schedule.objects.values().get() == before
    assert not QueuedJob.objects.exists()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_without_a_token_of_the_page_nothing_is_done(admin_user: Any, verb: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(url(verb, schedule())).status_code == 403


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("pk", [0, 10**30])
def test_a_schedule_that_there_is_not_leads_away(admin_client: Client, verb: str, pk: int) -> None:
    assert admin_client.post(url(verb, Schedule(pk=pk))).status_code == 302


def test_enable_and_disable_say_what_is_wanted_however_often(admin_client: Client) -> None:
    row = schedule()
    for _ in range(2):
        admin_client.post(url("disable", row))
        row.refresh_from_db()
        assert (row.enabled, row.next_run_at) == (False, None)
    admin_client.post(url("enable", row))
    row.refresh_from_db()
    assert row.enabled
    assert row.next_run_at is not None
    assert history(row) == ["Disabled.", "Disabled.", "Enabled."]


def test_the_switch_of_the_list_comes_back_to_the_same_list(admin_client: Client) -> None:
    row = schedule(task_path=PREFIX + "renamed", kwargs={})
    query = {"q": "night", "enabled": "yes"}
    page = admin_client.get(url("changelist"), query).content.decode()
    address = f"{url('disable', row)}?_list&q=night&enabled=yes"
    assert f'formaction="{address.replace("&", "&amp;")}"' in page
    assert admin_client.post(address).url == f"{url('changelist')}?q=night&enabled=yes"  # type: ignore[attr-defined]


def test_what_cannot_be_enabled_says_why(admin_client: Client) -> None:
    row = raw(schedule(enabled=False), spec="61 * * * *")
    answer = admin_client.post(url("enable", row), follow=True)
    assert any("is no minute" in text for text in texts(answer))
    row.refresh_from_db()
    assert not row.enabled


@pytest.mark.parametrize("verb", ["run", "disable", "duplicate"])
def test_an_act_beside_the_form_drops_no_edit(admin_client: Client, verb: str) -> None:
    row = schedule(note="by night")
    values = {**shown(admin_client, row), "note": "by day", "spec": "", "_act": verb}
    page = admin_client.post(url("change", row), values)
    assert texts(page) == [
        "Nothing was done, because you have changed this and not saved it: When, Note. Save it, then try again."
    ]
    assert "by day" in page.content.decode()
    assert "errorlist" not in page.content.decode()
    row.refresh_from_db()
    assert (row.note, row.enabled, Schedule.objects.count()) == ("by night", True, 1)
    assert not QueuedJob.objects.exists()
    assert history(row) == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"note": "two\nlines ", "start_at": datetime(2026, 1, 1, 1, 2, 3, 4567, tzinfo=UTC), "max_runs": 5},
        {"kind": "interval", "spec": "5 minutes", "queue_name": "mail", "priority": -3, "expires": 60},
        {"task_path": "tests.app.tasks.tomorrow", "kwargs": {"moment": {"$t": "datetime", "v": "2026-07-01T12:00:00"}}},
        {"task_path": PREFIX + "starred", "args": [1, 2], "kwargs": {"deep": {"a": [1.5, None]}}},
        {"task_path": "shop.tasks.gone", "kwargs": {"x": 1}},
    ],
)
def test_a_form_that_nobody_touched_keeps_no_act_from_being_done(admin_client: Client, fields: dict[str, Any]) -> None:
    row = raw(schedule(), **fields)
    admin_client.post(url("change", row), {**shown(admin_client, row), "_act": "disable"})
    row.refresh_from_db()
    assert not row.enabled
    assert history(row) == ["Disabled."]


def test_acts_beside_the_form_ask_for_the_permission_of_each(admin_client: Client) -> None:
    row = schedule()
    values = shown(admin_client, row)
    editor, viewer = user("view_schedule", "change_schedule"), user("view_schedule", "run_schedule")
    assert 'value="run"' not in editor.get(url("change", row)).content.decode()
    assert editor.post(url("change", row), {**values, "_act": "run"}).status_code == 403
    assert url("run", row) in viewer.get(url("change", row)).content.decode()
    assert viewer.post(url("change", row), {**values, "_act": "run"}).status_code == 403
    assert not QueuedJob.objects.exists()


def test_a_duplicate_is_disabled_and_has_a_name_of_its_own(admin_client: Client) -> None:
    row = schedule(name="n" * 200, note="x", priority=3)
    for _ in range(2):
        admin_client.post(url("duplicate", row))
    first, second = Schedule.objects.exclude(pk=row.pk).order_by("pk")
    assert first.name.endswith("(copy)")
    assert second.name.endswith("(copy 2)")
    assert (first.enabled, first.kwargs, first.note, first.priority) == (False, {"x": 1}, "x", 3)
    assert history(first) == [f"Duplicated from “{row.name}”."]


def test_actions_on_many_are_in_the_history_of_each(admin_client: Client) -> None:
    rows = [schedule(name=f"s{n}") for n in range(3)]
    assert "Enqueued now: 3." in texts(act(admin_client, "run_selected", *rows))
    assert "Disabled: 3." in texts(act(admin_client, "disable_selected", *rows))
    assert "Enabled: 3." in texts(act(admin_client, "enable_selected", *rows))
    assert "Duplicated, and disabled: 3." in texts(act(admin_client, "duplicate_selected", *rows))
    assert QueuedJob.objects.count() == 3
    assert Schedule.objects.count() == 6
    for row in rows:
        run, *switched = history(row)
        assert run.startswith("Run now: job ")
        assert switched == ["Disabled.", "Enabled."]


def test_many_are_deleted_with_their_runs(admin_client: Client) -> None:
    rows = [schedule(name=f"s{n}") for n in range(3)]
    act(admin_client, "run_selected", *rows)
    page = act(admin_client, "delete_selected", *rows[:2]).content.decode()
    assert "Runs of schedules: 2" in page
    data = {"action": "delete_selected", "_selected_action": [row.pk for row in rows[:2]], "post": "yes"}
    admin_client.post(url("changelist"), data)
    assert [row.name for row in Schedule.objects.all()] == ["s2"]
    assert ScheduleRun.objects.count() == 1


def test_many_are_acted_on_by_few_statements(admin_client: Client, django_assert_max_num_queries: Any) -> None:
    off = Schedule(name="off", enabled=False, task_path=ADD, kwargs={"x": 1}, spec="0 3 * * *")
    off.save()
    Schedule.objects.bulk_create(
        Schedule(name=f"s{n}", task_path=ADD, kwargs={"x": 1}, spec=f"{n % 60} 3 * * *") for n in range(200)
    )
    broken = raw(schedule(name="broken", enabled=False), spec="61 * * * *")
    rows = list(Schedule.objects.all())
    for action, said in (("disable", "Disabled: 202."), ("enable", "Enabled: 201."), ("run", "Enqueued now: 202.")):
        data = {"action": f"{action}_selected", "_selected_action": [row.pk for row in rows]}
        with django_assert_max_num_queries(30):
            admin_client.post(url("changelist"), data)
        assert said in texts(admin_client.get(url("changelist")))
    off.refresh_from_db()
    assert off.next_run_at is not None
    assert set(Schedule.objects.values_list("version", flat=True)) == {2, 3}
    assert Schedule.objects.filter(enabled=True, next_run_at=None).count() == 0
    assert not Schedule.objects.get(pk=broken.pk).enabled
    assert QueuedJob.objects.count() == ScheduleRun.objects.count() == 202
    assert LogEntry.objects.count() == 202 + 201 + 202


def test_enabling_many_moves_no_slot_of_those_that_are_enabled(admin_client: Client) -> None:
    due = schedule(name="due")
    raw(due, next_run_at=due.created_at)
    finished = raw(schedule(name="over", max_runs=1, enabled=False), run_count=1, disabled_reason="x")
    act(admin_client, "enable_selected", due, finished)
    for row in (due, finished):
        row.refresh_from_db()
    assert due.next_run_at == due.created_at
    assert (finished.enabled, finished.is_finished, finished.next_run_at) == (True, True, None)
    assert finished.disabled_reason == ""


def test_all_that_fit_are_deleted_by_a_form_of_few_fields(admin_client: Client) -> None:
    rows = [schedule(name=f"of many {n}") for n in range(4)]
    schedule(name="other")
    address = f"{url('changelist')}?q=many"
    asked = {"action": "delete_selected", "select_across": "1", "index": "0", "_selected_action": [rows[0].pk]}
    page = admin_client.post(address, asked).content.decode()
    form = page.partition('id="content"')[2]
    sent = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', form))
    assert form.count('name="_selected_action"') == 1
    sent.pop("csrfmiddlewaretoken", None)
    admin_client.post(address, sent)
    assert [row.name for row in Schedule.objects.all()] == ["other"]


def test_one_that_cannot_run_stops_no_other(admin_client: Client) -> None:
    rows = [schedule(name=f"s{n}") for n in range(3)]
    raw(rows[1], task_path="shop.tasks.gone")
    said = texts(act(admin_client, "run_selected", *rows))
    assert "Enqueued now: 2." in said
    assert any("“s1” cannot run" in text for text in said)


def test_many_that_cannot_run_fill_no_page(admin_client: Client) -> None:
    rows = [raw(schedule(name=f"s{n}"), task_path="shop.tasks.gone") for n in range(15)]
    said = texts(act(admin_client, "run_selected", *rows))
    assert len(said) == 11
    assert "And 5 more." in said


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code declares a schedule."""
    night = cron("0 3 * * *", timezone="Europe/Berlin", kwargs={"x": 7}, note="by night")
    monkeypatch.setattr(registry, "all", lambda: [replace(signatures.declared, schedule=(night,))])


def from_code() -> Schedule:
    declared.sync("default")
    return Schedule.objects.get(declared_as=PREFIX + "declared")


@pytest.mark.usefixtures("code")
def test_a_schedule_from_code_says_so(admin_client: Client) -> None:
    row = from_code()
    assert (
        '<span class="taskq-tag" title="declared in code">code</span>'
        in admin_client.get(url("changelist")).content.decode()
    )
    page = admin_client.get(url("change", row)).content.decode()
    assert "declared in code" in page
    assert 'value="revert"' in page
    assert 'value="revert"' not in admin_client.get(url("change", schedule(name="b"))).content.decode()


@pytest.mark.usefixtures("code")
def test_a_change_of_one_from_code_survives_until_it_is_reverted(admin_client: Client) -> None:
    row = from_code()
    assert change(admin_client, row, spec="0 4 * * *", **{"arg-x": "8"}).status_code == 302
    row = from_code()
    assert (row.spec, row.kwargs, row.is_overridden) == ("0 4 * * *", {"x": 8}, True)
    assert "declared in code, changed here" in admin_client.get(url("changelist")).content.decode()

    admin_client.post(url("revert", row))
    row = from_code()
    assert (row.spec, row.kwargs, row.is_overridden) == ("0 3 * * *", {"x": 7}, False)
    assert history(row)[-1] == "Reverted to what the code says."


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("how", ["switch", "form"])
def test_disabling_one_from_code_survives_and_is_no_change(admin_client: Client, how: str) -> None:
    row = from_code()
    if how == "switch":
        admin_client.post(url("disable", row))
    else:
        assert change(admin_client, row, enabled=None).status_code == 302
    row = from_code()
    assert (row.enabled, row.is_overridden) == (False, False)


def test_one_that_the_code_says_nothing_of_cannot_be_reverted(admin_client: Client) -> None:
    row = raw(schedule(), declared_as="gone.from.code")
    assert any("says nothing" in text for text in texts(admin_client.post(url("revert", row), follow=True)))
    assert not history(row)


EVIL = "<script>alert(1)</script>"


def test_hostile_text_is_escaped_everywhere(admin_client: Client) -> None:
    evil = {"name": EVIL, "note": EVIL, "task_path": "tests.app.tasks.echo", "arg-value": f'"{EVIL}"', "arg-x": None}
    pages = [add(admin_client, **evil, _continue="1"), add(admin_client, **{**evil, "spec": EVIL, "timezone": EVIL})]
    row = Schedule.objects.get()
    assert row.kwargs == {"value": EVIL}
    pages += [admin_client.post(url(verb, row), follow=True) for verb in VERBS]
    pages.append(act(admin_client, "run_selected", row))
    raw(row, task_path=EVIL, broken=EVIL, spec=EVIL, timezone=EVIL[:20], queue_name=EVIL, declared_as=EVIL)
    pages += [admin_client.post(url(verb, row), follow=True) for verb in VERBS]
    pages.append(act(admin_client, "run_selected", row))
    raw(row, enabled=False, disabled_reason=EVIL, kwargs={EVIL: EVIL}, args=[EVIL])
    pages += [admin_client.get(url(what, row)) for what in ("change", "history", "delete")]
    pages += [user("view_schedule").get(url("change", row))]
    pages += [admin_client.get(url("changelist"), query) for query in ({}, {"q": EVIL}, {"task": EVIL})]
    pages += [admin_client.get(url("preview"), {"kind": EVIL, "spec": EVIL, "timezone": EVIL})]
    pages += [admin_client.get(url("arguments"), {"task": EVIL})]
    pages += [admin_client.get("/admin/")]
    for answer in pages:
        page = answer.content.decode()
        assert EVIL not in page
        assert "<script>alert" not in page
