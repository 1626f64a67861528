"""Acts on more jobs than one request should wait for: a job of the app does them, and is bound to what was asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from taskq_django.admin import background, many
from taskq_django.admin.pages import queues
from taskq_django.models import JobProgress, JobResult, QueuedJob, WorkerProcess
from taskq_django.models.moments import DatabaseNow
from taskq_django.registry import registry
from taskq_django.states import State
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.schedule_pages import texts, user

pytestmark = pytest.mark.django_db

RESULTS = "admin:taskq_django_jobresult_changelist"
QUEUED = "admin:taskq_django_queuedjob_changelist"
PATH = "taskq_django.admin.many.act_on_many"
PURGE = "taskq_django.admin.purging.purge_queue"
LATER = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MOST_IN_A_REQUEST", 3)
    monkeypatch.setattr(many, "SPAN", 4)
    monkeypatch.setattr(many, "AT_ONCE", 2)


def failures(count: int) -> list[str]:
    ids = [tasks.explode.enqueue().id for _ in range(count)]
    run_all()
    return ids


def on_all(client: Client, verb: str, query: str = "", at: str = RESULTS, **given: str) -> Any:
    some = (JobResult if at == RESULTS else QueuedJob).objects.values_list("pk", flat=True)[:2]
    chosen = {"action": f"{verb}_selected", "_selected_action": list(map(str, some)), "select_across": "1"}
    return client.post(f"{reverse(at)}{query}", {**chosen, "confirmed": "yes", **given}, follow=True)


def asked_for() -> QueuedJob:
    return QueuedJob.objects.get(task_path=PATH)


def test_what_is_too_much_for_a_request_goes_on_in_the_background(admin_client: Client) -> None:
    ids = failures(10)
    other = tasks.add.enqueue(1)
    run_all()

    answer = on_all(admin_client, "delete", "?status=FAILED")

    assert JobResult.objects.count() == 11
    job = asked_for()
    assert job.priority == 100
    assert reverse("admin:taskq_django_job", args=[job.pk]) in answer.content.decode()
    assert "Delete of 10 jobs goes on in the background" in texts(answer)[0]
    run_all(limit=1)
    assert not JobResult.objects.filter(pk__in=ids).exists()
    assert JobResult.objects.filter(pk=other.id).exists()
    assert JobResult.objects.get(pk=job.pk).status == State.SUCCESSFUL
    told = JobProgress.objects.get(pk=job.pk)
    assert (told.done, told.total, told.text) == (10, 10, "10 jobs were deleted.")
    noted = LogEntry.objects.filter(object_id=job.pk).order_by("pk")
    asked, done = (entry.get_change_message() for entry in noted)
    assert asked == "Asked for: Delete, 10 results (status=FAILED)."
    assert done == "10 jobs were deleted."
    assert {entry.user for entry in noted} == {User.objects.get()}


def test_an_act_on_many_is_asked_about_once_more(admin_client: Client) -> None:
    ids = failures(5)
    chosen = {"action": "retry_selected", "_selected_action": ids[:2], "select_across": "1"}
    page = admin_client.post(reverse(RESULTS), chosen).content.decode()
    assert "Retry 5 jobs" in page
    assert "a job does it in the background" in page
    assert not QueuedJob.objects.exists()


def test_few_are_done_at_once(admin_client: Client) -> None:
    failures(3)
    on_all(admin_client, "delete")
    assert JobResult.objects.count() == QueuedJob.objects.count() == 0


def test_what_comes_after_the_question_is_left_alone(admin_client: Client) -> None:
    old = failures(4)
    early = tasks.explode.using(run_after=LATER).enqueue()  # has one of the ids, and fails after the question
    old += failures(1)
    on_all(admin_client, "delete", "?status=FAILED")

    late = [tasks.explode.enqueue().id for _ in range(2)]
    QueuedJob.objects.filter(pk=early.id).update(status=State.READY, available_at=DatabaseNow())
    job = asked_for()
    QueuedJob.objects.filter(pk=job.pk).update(rank=100)  # so that these fail before it runs
    run_all()

    assert JobResult.objects.get(pk=job.pk).status == State.SUCCESSFUL
    assert not JobResult.objects.filter(pk__in=old).exists()
    assert JobResult.objects.filter(pk__in=[*late, early.id]).count() == 3


def test_what_was_retried_and_failed_again_is_not_retried_twice(admin_client: Client) -> None:
    """As after a crash: the job runs again from its beginning."""
    ids = failures(6)
    on_all(admin_client, "retry", "?status=FAILED")
    job = asked_for()
    copy = {field.name: getattr(job, field.name) for field in job._meta.fields}
    run_all()
    assert set(JobResult.objects.filter(pk__in=ids).values_list("attempts", flat=True)) == {2}

    JobResult.objects.filter(pk=job.pk).delete()
    QueuedJob.objects.create(**copy)  # as it was when its process was killed, say
    run_all()

    assert set(JobResult.objects.filter(pk__in=ids).values_list("attempts", flat=True)) == {2}


@pytest.mark.parametrize("query", ["?queue=mail", "?q=queue:mail", "?q=mail", "?task=tests.app.tasks.add&queue=mail"])
def test_the_filters_of_the_list_travel_with_it(admin_client: Client, query: str) -> None:
    wanted = {tasks.add.using(run_after=LATER, queue_name="mail").enqueue(1).id for _ in range(5)}
    others = {tasks.add.using(run_after=LATER).enqueue(1).id for _ in range(5)}

    on_all(admin_client, "cancel", query, QUEUED)
    run_all()

    ended = JobResult.objects.filter(status=State.CANCELLED)
    assert set(map(str, ended.values_list("pk", flat=True))) == wanted
    assert ended.first().message == "cancelled in the admin by admin"
    assert set(map(str, QueuedJob.objects.values_list("pk", flat=True))) == others


def test_all_jobs_of_a_status_are_meant_also_beyond_those_that_a_list_counts(
    admin_client: Client, settings: Any
) -> None:
    settings.TASKQ = {"ADMIN": {"COUNT_LIMIT": 5}}
    later = {tasks.add.using(run_after=LATER).enqueue(1).id for _ in range(12)}

    answer = on_all(admin_client, "run", "?status=SCHEDULED", QUEUED)
    assert "Run now of 5+ jobs" in texts(answer)[0]
    run_all()

    assert JobResult.objects.filter(pk__in=later, status=State.SUCCESSFUL).count() == 12


def test_a_new_time_travels_with_it(admin_client: Client) -> None:
    for _ in range(5):
        tasks.add.using(run_after=LATER).enqueue(1)
    on_all(admin_client, "reschedule", "", QUEUED, due="2090-05-06 07:08")
    run_all()
    assert {row.run_after.year for row in QueuedJob.objects.all()} == {2090}


def test_a_time_that_is_none_is_refused_before_anything_goes_on(admin_client: Client) -> None:
    for _ in range(5):
        tasks.add.using(run_after=LATER).enqueue(1)
    answer = on_all(admin_client, "reschedule", "", QUEUED, due="tomorrow")
    assert texts(answer) == ["Say when, like 2030-12-24 18:00."]
    assert not QueuedJob.objects.filter(task_path=PATH).exists()


@pytest.mark.parametrize("lost", ["permission", "view", "staff", "active", "user"])
def test_who_may_not_any_more_has_nothing_done_for_them(lost: str) -> None:
    failures(5)
    somebody = user("view_jobresult", "delete_jobresult")
    on_all(somebody, "delete")
    job, person = asked_for(), User.objects.get()
    if lost in {"permission", "view"}:
        codename = {"permission": "delete_jobresult", "view": "view_jobresult"}[lost]
        person.user_permissions.remove(person.user_permissions.get(codename=codename))
    elif lost == "user":
        LogEntry.objects.all().delete()
        person.delete()
    else:
        setattr(person, f"is_{lost}", False)
        person.save()

    run_all()

    assert JobResult.objects.get(pk=job.pk).status == State.CANCELLED
    assert JobResult.objects.filter(status=State.FAILED).count() == 5


def test_who_may_not_do_it_cannot_ask_for_it() -> None:
    failures(5)
    on_all(user("view_jobresult", "retry_job"), "delete")
    assert JobResult.objects.count() == 5
    assert not QueuedJob.objects.exists()


def test_who_may_not_view_running_jobs_gets_no_link_to_one() -> None:
    failures(5)
    answer = on_all(user("view_jobresult", "delete_jobresult"), "delete")
    assert str(asked_for().pk) in texts(answer)[0]
    assert f"/job/{asked_for().pk}" not in answer.content.decode()


def test_the_message_says_when_no_worker_will_come(admin_client: Client) -> None:
    failures(5)
    assert "No worker is alive that serves the queue default" in texts(on_all(admin_client, "delete"))[1]

    QueuedJob.objects.all().delete()
    now = {"started_at": DatabaseNow(), "seen_at": DatabaseNow()}
    WorkerProcess.objects.create(id="w", name="w", host="", pid=1, state="SERVING", **now)
    assert len(texts(on_all(admin_client, "delete"))) == 1


@pytest.mark.parametrize(
    "change",
    [{"filters": {"status": "NONE"}}, {"filters": {"payload__contains": "x"}}, {"verb": "cancel"}, {"verb": "none"}],
    ids=["no status", "a lookup", "no verb of the list", "no verb"],
)
def test_what_no_list_has_is_refused_also_where_it_was_enqueued_by_hand(
    admin_client: Client, change: dict[str, Any]
) -> None:
    failures(5)
    on_all(admin_client, "delete")
    job = asked_for()
    QueuedJob.objects.all().delete()
    call = {
        "site": "admin",
        "model": "jobresult",
        "verb": "delete",
        "user": str(User.objects.get().pk),
        "filters": {},
        "first": None,
        "last": job.pk,
        "asked_at": job.enqueued_at,
    }
    by_hand = many.act_on_many.enqueue(**(call | change))
    run_all()
    assert JobResult.objects.get(pk=by_hand.id).status == State.CANCELLED
    assert JobResult.objects.filter(status=State.FAILED).count() == 5


def test_nobody_is_offered_to_run_it_by_hand(admin_client: Client) -> None:
    assert registry.find(PATH).schedulable is False
    page = admin_client.get(reverse("admin:taskq_django_registeredtask_run", args=[PATH]))
    assert "You may not run this task." in page.content.decode()
    assert admin_client.post(reverse("admin:taskq_django_registeredtask_run", args=[PATH])).status_code == 403


def test_one_that_is_cancelled_says_what_it_has_done(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    failures(6)
    on_all(admin_client, "delete")
    job = asked_for()
    looks = iter([False, True])
    monkeypatch.setattr("taskq_django.results.context.TaskContext.is_cancelled", property(lambda context: next(looks)))

    run_all()

    ended = JobResult.objects.get(pk=job.pk)
    assert (ended.status, ended.message) == (State.CANCELLED, "It was cancelled; what was done before stays.")
    assert JobResult.objects.filter(status=State.FAILED).count() == 4
    assert LogEntry.objects.filter(object_id=job.pk).first().get_change_message() == "2 jobs were deleted."


# --- purges ---------------------------------------------------------------------------------------------------------


def purge(client: Client, queue: str) -> Any:
    given = {"backend": "default", "queue": queue, "typed": queue, "sure": "yes"}
    return client.post(reverse("admin:taskq_django_queue_purge"), given, follow=True)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "MOST_IN_A_REQUEST", 3)
    for _ in range(5):
        tasks.add.using(queue_name="mail").enqueue(1)


def test_a_large_queue_is_purged_in_the_background(waiting: None, admin_client: Client) -> None:
    answer = purge(admin_client, "mail")
    assert "Purge of 5 jobs goes on in the background" in texts(answer)[-1]
    job = QueuedJob.objects.get(task_path=PURGE)
    assert QueuedJob.objects.filter(queue_name="mail").count() == 5

    run_all(queues=("default",))

    assert not QueuedJob.objects.exists()
    assert JobResult.objects.get().return_value == "5"
    told = LogEntry.objects.filter(object_id=job.pk).order_by("pk")
    assert [entry.get_change_message() for entry in told] == ["Asked for: Purge, 5 jobs.", "5 jobs were removed."]


def test_a_purge_asks_again_whether_its_user_may(waiting: None) -> None:
    purge(user("view_queue", "purge_queue"), "mail")
    User.objects.get().user_permissions.clear()
    run_all(queues=("default",))
    assert JobResult.objects.get(task_path=PURGE).status == State.CANCELLED
    assert QueuedJob.objects.filter(queue_name="mail").count() == 5
