"""What is done to jobs in the admin, from the lists and from the page of one: by whom, and what comes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from taskq_django.admin.job_verbs import VERBS
from taskq_django.brokers.base import Found
from taskq_django.compat import task_backends
from taskq_django.exceptions import BrokerUnavailable
from taskq_django.models import JobAttempt, JobResult, QueuedJob
from taskq_django.states import State
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.schedule_pages import texts, user
from tests.support.sending import job

pytestmark = pytest.mark.django_db

RESULTS = "admin:taskq_django_jobresult_changelist"
QUEUED = "admin:taskq_django_queuedjob_changelist"
LATER = timedelta(hours=1)
NOBODYS = "0199e000-0000-7000-8000-000000000000"
VIEWS = ("view_jobresult", "view_queuedjob")
# What a verb is for: the permission, and a job that it can be done to.
NEEDED = {
    "retry": "retry_job",
    "cancel": "cancel_job",
    "run": "reschedule_job",
    "reschedule": "reschedule_job",
    "delete": "delete_jobresult",
}
HERE = {name: RESULTS if name in {"retry", "delete"} else QUEUED for name in NEEDED}


@pytest.fixture
def jobs() -> dict[str, str]:
    """An id by the name of a verb that can be done to it."""
    failed, later = tasks.explode.enqueue(), tasks.add.using(run_after=LATER).enqueue(1)
    run_all()
    return {name: failed.id if HERE[name] == RESULTS else later.id for name in NEEDED}


def on_page(client: Client, verb: str, id_: object, **given: str) -> Any:
    return client.post(reverse(f"admin:taskq_django_job_{verb}", args=[id_]), given, follow=True)


def in_list(client: Client, verb: str, *ids: object, **given: Any) -> Any:
    chosen = {"action": f"{verb}_selected", "_selected_action": [str(id_) for id_ in ids], **given}
    return client.post(reverse(HERE[verb]), chosen, follow=True)


def state_of(id_: str) -> str:
    rows = QueuedJob.objects.filter(id=id_).first() or JobResult.objects.filter(id=id_).first()
    return rows.status if rows else "gone"


def everything() -> Any:
    return list(QueuedJob.objects.values()), list(JobResult.objects.values()), JobAttempt.objects.count()


# --- who may --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", NEEDED)
@pytest.mark.parametrize("permission", [*NEEDED.values(), "view_payload", "enqueue_task", "run_schedule"])
def test_each_verb_asks_for_its_own_permission(verb: str, permission: str, jobs: dict[str, str]) -> None:
    somebody, before = user(*VIEWS, permission), everything()
    may = permission == NEEDED[verb]

    page = somebody.get(reverse("admin:taskq_django_job", args=[jobs[verb]])).content.decode()
    listed = somebody.get(reverse(HERE[verb])).content.decode()
    assert (f'action="{verb}/"' in page, f'value="{verb}_selected"' in listed) == (may, may)
    assert in_list(somebody, verb, jobs[verb]).status_code == 200
    if not may or verb in {"reschedule", "delete"}:  # which are asked about first
        assert everything() == before
    assert on_page(somebody, verb, jobs[verb], due="2031-01-01T10:00").status_code == (200 if may else 403)
    if not may:
        assert everything() == before
    assert LogEntry.objects.exists() is may


@pytest.mark.parametrize("verb", NEEDED)
def test_who_may_not_see_the_list_does_nothing_to_its_jobs(verb: str, jobs: dict[str, str]) -> None:
    other = "view_queuedjob" if HERE[verb] == RESULTS else "view_jobresult"
    somebody, before = user(other, *NEEDED.values()), everything()
    assert on_page(somebody, verb, jobs[verb]).status_code == 403
    assert in_list(somebody, verb, jobs[verb]).status_code == 403
    assert everything() == before


@pytest.mark.parametrize("verb", NEEDED)
def test_an_address_alone_does_nothing(verb: str, jobs: dict[str, str], admin_client: Client) -> None:
    before = everything()
    answer = admin_client.get(reverse(f"admin:taskq_django_job_{verb}", args=[jobs[verb]]))
    assert answer.url == reverse("admin:taskq_django_job", args=[jobs[verb]])  # type: ignore[attr-defined]
    assert everything() == before


def test_nothing_is_done_without_the_token_of_the_form(admin_user: User, jobs: dict[str, str]) -> None:
    client, before = Client(enforce_csrf_checks=True), everything()
    client.force_login(admin_user)
    for verb, id_ in jobs.items():
        assert on_page(client, verb, id_).status_code == 403
        assert in_list(client, verb, id_).status_code == 403
    assert everything() == before


def test_a_verb_on_a_job_of_none_is_not_found(admin_client: Client) -> None:
    for verb in VERBS:
        assert on_page(admin_client, verb, NOBODYS).status_code == 404


# --- what comes of it -----------------------------------------------------------------------------------------------


def test_a_retry_keeps_the_job_and_its_attempts_and_is_noted(admin_client: Client) -> None:
    sent = tasks.explode.enqueue()
    run_all()

    answer = on_page(admin_client, "retry", sent.id)

    assert texts(answer) == ["1 job will run again."]
    assert answer.redirect_chain[-1][0] == reverse("admin:taskq_django_job", args=[sent.id])
    assert state_of(sent.id) == State.READY
    page = answer.content.decode()
    assert "Attempt 1 failed" in page
    assert "Retried." in page
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message(), entry.user.get_username()) == (sent.id, "Retried.", "admin")
    run_all()
    assert JobAttempt.objects.filter(job_id=sent.id).count() == 2


@pytest.mark.parametrize(
    ("verb", "view", "here", "said"),
    [
        ("retry", "view_jobresult", RESULTS, "1 job will run again."),
        ("cancel", "view_queuedjob", QUEUED, "1 job was cancelled."),
    ],
)
def test_an_act_that_moves_the_job_out_of_sight_leads_to_the_list_that_is_in_sight(
    verb: str, view: str, here: str, said: str, jobs: dict[str, str]
) -> None:
    answer = on_page(user(view, NEEDED[verb]), verb, jobs[verb])
    assert (answer.status_code, texts(answer)) == (200, [said])
    assert answer.redirect_chain == [(reverse(here), 302)]


def test_a_list_says_how_many_it_was_done_to_and_why_not_to_the_others(admin_client: Client) -> None:
    failed = [tasks.explode.enqueue() for _ in range(3)]
    done = [tasks.add.enqueue(number) for number in range(2)]
    run_all()

    answer = in_list(admin_client, "retry", *[each.id for each in (*failed, *done)])

    assert texts(answer) == ["3 jobs will run again.", "2 jobs were left alone: they have succeeded."]
    assert {state_of(each.id) for each in failed} == {State.READY}
    assert LogEntry.objects.count() == 3


def test_a_waiting_job_is_cancelled_with_who_did_it(admin_client: Client) -> None:
    now, later = tasks.add.enqueue(1), tasks.add.using(run_after=LATER).enqueue(1)
    answer = in_list(admin_client, "cancel", now.id, later.id)
    assert texts(answer) == ["2 jobs were cancelled."]
    assert {row.message for row in JobResult.objects.all()} == {"cancelled in the admin by admin"}
    assert LogEntry.objects.filter(change_message="Cancelled.").count() == 2


def test_one_that_runs_is_asked_to_end(admin_client: Client) -> None:
    sent = tasks.add.enqueue(1)
    task_backends["default"].broker.claim(["default"], 1, "w1")  # type: ignore[attr-defined]
    answer = on_page(admin_client, "cancel", sent.id)
    assert texts(answer) == ["1 job was asked to end: a worker has it, and ends it soon."]
    assert state_of(sent.id) == State.RUNNING
    assert LogEntry.objects.get().change_message == "Asked to be cancelled."


def test_what_waits_for_its_time_is_run_now(admin_client: Client) -> None:
    now, later = tasks.add.enqueue(1), tasks.add.using(run_after=LATER).enqueue(2)
    answer = in_list(admin_client, "run", now.id, later.id)
    assert texts(answer) == ["1 job is due now.", "1 job was left alone: it is ready to run."]
    assert run_all() == 2


@pytest.mark.parametrize("use_tz", [True, False])
def test_a_job_is_put_off_to_a_moment_of_the_readers_clock(admin_client: Client, settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    sent = tasks.add.enqueue(1)
    answer = on_page(admin_client, "reschedule", sent.id, due="2031-07-01T10:00")
    assert texts(answer) == ["1 job has a new time."]
    due = QueuedJob.objects.get().available_at
    local = timezone.localtime(due) if use_tz else due
    assert f"{local:%Y-%m-%d %H:%M}" == "2031-07-01 10:00"
    assert "Due at 2031-07-01 10:00:00 Europe/Berlin." in answer.content.decode()


@pytest.mark.parametrize("due", ["", "soon", "2031-06-31T10:00", "2001-01-01T10:00", "9999-12-31T23:59", "0001-01-01"])
def test_a_time_that_is_none_changes_nothing(admin_client: Client, due: str) -> None:
    sent = tasks.add.enqueue(1)
    before = everything()
    answer = on_page(admin_client, "reschedule", sent.id, due=due)
    assert texts(answer)[0].startswith("Say ")
    assert everything() == before
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("verb", ["reschedule", "delete"])
def test_a_list_asks_before_what_needs_an_answer(admin_client: Client, jobs: dict[str, str], verb: str) -> None:
    before = everything()
    page = in_list(admin_client, verb, jobs[verb]).content.decode()
    assert f'<input type="hidden" name="_selected_action" value="{jobs[verb]}">' in page
    assert everything() == before

    answer = in_list(admin_client, verb, jobs[verb], confirmed="yes", due="2031-01-01T10:00")
    assert len(texts(answer)) == 1
    assert everything() != before


def test_a_deleted_job_is_gone_with_its_attempts_and_its_history_stays(admin_client: Client) -> None:
    sent = tasks.explode.enqueue()
    run_all()
    answer = on_page(admin_client, "delete", sent.id)
    assert texts(answer) == ["1 job was deleted."]
    assert answer.redirect_chain[-1][0] == reverse(RESULTS)
    assert everything() == ([], [], 0)
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.is_deletion()) == (sent.id, True)


def test_all_of_a_list_are_asked_about_where_it_does_not_count_them(admin_client: Client, settings: Any) -> None:
    settings.TASKQ = {"ADMIN": {"COUNT_LIMIT": 3, "PAGE_SIZE": 2}}
    tasks.explode.enqueue_many([() for _ in range(5)])
    run_all()
    answer = in_list(admin_client, "retry", NOBODYS, select_across="1")
    assert "also beyond those that it counts" in answer.content.decode()
    asked = in_list(admin_client, "delete", NOBODYS, select_across="1").content.decode()
    assert '<input type="hidden" name="select_across" value="1">' in asked


@pytest.mark.parametrize("verb", NEEDED)
@pytest.mark.parametrize("ids", [["abc"], ["9" * 30], [""], ["\0"], [NOBODYS]], ids=range(5))
def test_a_choice_that_cannot_be_is_answered(admin_client: Client, verb: str, ids: list[str]) -> None:
    assert in_list(admin_client, verb, *ids, confirmed="yes", due="2031-01-01T10:00").status_code == 200
    assert not LogEntry.objects.exists()


def test_a_job_of_a_backend_that_is_gone_is_told_of(admin_client: Client) -> None:
    sent = tasks.explode.enqueue()
    run_all()
    JobResult.objects.update(backend="gone")
    (text,) = texts(on_page(admin_client, "retry", sent.id))
    assert text.startswith("TASKS has no backend 'gone'")


def test_a_broker_that_is_away_is_told_of_in_a_line(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise BrokerUnavailable("the engine is\naway")

    sent = tasks.add.enqueue(1)
    monkeypatch.setattr(task_backends["default"].broker, "cancel", refuse)  # type: ignore[attr-defined]
    assert texts(on_page(admin_client, "cancel", sent.id)) == ["the engine is away"]


def test_a_job_that_only_its_broker_knows_can_be_asked_for(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = job()
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    monkeypatch.setattr(broker, "find", lambda ids: {waiting.id: Found(waiting, State.READY)})
    page = admin_client.get(reverse("admin:taskq_django_job", args=[waiting.id])).content.decode()
    assert 'action="cancel/"' in page
    assert texts(on_page(admin_client, "cancel", waiting.id)) == ["1 job was left alone: it is ready to run."]
