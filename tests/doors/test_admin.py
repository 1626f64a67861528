"""The admin, as its users meet it. Everything shown is hostile."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from taskq_django import task
from taskq_django.brokers.base import Found
from taskq_django.compat import task_backends
from taskq_django.exceptions import BrokerUnavailable
from taskq_django.models import JobAttempt, JobResult, QueuedJob
from taskq_django.states import State
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.sending import job

pytestmark = pytest.mark.django_db

RESULTS = "admin:taskq_django_jobresult_changelist"
QUEUED = "admin:taskq_django_queuedjob_changelist"
EVIL = "<script>alert(1)</script>"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@task(sensitive=("anything",))
def starred(first: int, *tokens: str, **anything: str) -> None: ...


def result(**changes: Any) -> JobResult:
    given = {
        "task_path": "tests.app.tasks.add",
        "backend": "default",
        "queue_name": "default",
        "priority": 0,
        "status": "SUCCESSFUL",
        "enqueued_at": NOW,
        "started_at": NOW + timedelta(seconds=1.5),
        "last_attempted_at": NOW + timedelta(seconds=1.5),
        "finished_at": NOW + timedelta(seconds=3.75),
        "payload": "[[1],{}]",
        "return_value": "3",
        "attempts": 1,
        "worker_id": "w1",
    }
    return JobResult.objects.create(**{**given, **changes})


def attempt(row: JobResult, number: int, **changes: Any) -> None:
    given = {"worker_id": "w1", "started_at": NOW, "finished_at": NOW, "message": "", "traceback": ""}
    JobAttempt.objects.create(job_id=row.id, number=number, **{**given, **changes})


def job_page(client: Client, id_: object) -> str:
    answer = client.get(reverse("admin:taskq_django_job", args=[id_]))
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_waiting_job_is_listed_before_any_worker_runs(admin_client: Client) -> None:
    sent = tasks.add.enqueue(1)
    page = admin_client.get(reverse(QUEUED)).content.decode()
    assert "Ready" in page
    assert "tests.app.tasks" in page
    assert reverse("admin:taskq_django_job", args=[sent.id]) in page
    assert "Ready" in job_page(admin_client, sent.id)


def test_a_page_keeps_its_address_when_the_job_ends(admin_client: Client) -> None:
    sent = tasks.add.enqueue(1)
    run_all()
    page = job_page(admin_client, sent.id)
    assert "Successful" in page
    assert re.search(r"<pre[^>]*>3</pre>", page)


def test_a_failure_shows_its_exception_and_its_indented_traceback(admin_client: Client) -> None:
    sent = tasks.explode.enqueue()
    run_all()
    page = job_page(admin_client, sent.id)
    assert "<h2><bdi>builtins.KeyError</bdi></h2>" in page
    assert "    raise KeyError(&quot;missing&quot;)" in page
    assert "Traceback (most recent call last):" in page


def test_lists_show_durations_with_seconds(admin_client: Client) -> None:
    result()
    page = admin_client.get(reverse(RESULTS)).content.decode()
    for part in (
        "1.500\N{NO-BREAK SPACE}s",
        "2.250\N{NO-BREAK SPACE}s",
        "2026-03-01 13:00:00",
        "taskq-successful",
        '<strong>add</strong></a><code class="taskq-arguments">(x=1)</code>',
    ):
        assert part in page


def test_hostile_text_is_escaped_everywhere(admin_client: Client) -> None:
    row = result(
        task_path=f"x.{EVIL}",
        queue_name=EVIL,
        payload=f'[["{EVIL}"],{{"{EVIL}":1}}]',
        return_value=f'"{EVIL}"',
        worker_id=EVIL,
        message=EVIL,
        exception_class=EVIL,
        status="FAILED",
    )
    JobAttempt.objects.create(
        job_id=row.id,
        number=1,
        worker_id=EVIL,
        started_at=NOW,
        finished_at=NOW,
        exception_class=EVIL,
        message=EVIL,
        traceback=EVIL,
    )
    for page in (admin_client.get(reverse(RESULTS)).content.decode(), job_page(admin_client, row.id)):
        assert EVIL not in page
        assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("payload", ["", "{", "[1]", "null", '[["' + "x" * 300, '{"a":' * 5000])
def test_unreadable_arguments_break_no_page(admin_client: Client, payload: str) -> None:
    row = result(payload=payload, return_value="{")
    assert admin_client.get(reverse(RESULTS)).status_code == 200
    assert "cannot be read" in job_page(admin_client, row.id)


def test_secrets_are_masked_by_name_at_any_depth(admin_client: Client) -> None:
    row = result(
        task_path="tests.app.tasks.log_in",
        payload='[["ann","hunter2"],{"options":{"api_key":"key_zz","deep":[{"Authorization":"bearer_zz"}]},"pin":"pin_zz"}]',
    )
    for page in (admin_client.get(reverse(RESULTS)).content.decode(), job_page(admin_client, row.id)):
        for secret in ("hunter2", "key_zz", "bearer_zz", "pin_zz"):
            assert secret not in page
    assert "ann" in job_page(admin_client, row.id)


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        ('[[],{"²":1}]', "²"),
        ('[[1],{"x":2}]', "**x"),
        ("[[" + "[" * 990 + "]" * 990 + "],{}]", "…"),
        ('[[{"$t":"timedelta","v":[1,2,0]}],{}]', "P1DT00H00M02S"),
        ('[[{"$t":"unheard of","v":[1]}],{}]', "unheard of"),
    ],
)
def test_arguments_by_another_hand_break_no_page(admin_client: Client, payload: str, shown: str) -> None:
    row = result(payload=payload, return_value=payload)
    assert admin_client.get(reverse(RESULTS)).status_code == 200
    assert shown in job_page(admin_client, row.id)


def test_a_users_own_tagged_dict_keeps_its_secrets(admin_client: Client) -> None:
    row = result(payload='[[{"$t":"dict","v":{"$t":"x","v":1,"password":"hunter2"}}],{}]')
    page = job_page(admin_client, row.id)
    assert "hunter2" not in page
    assert "&quot;$t&quot;: &quot;x&quot;" in page


def test_starred_parameters_are_masked_by_their_names(admin_client: Client) -> None:
    row = result(task_path=starred.module_path, payload='[[1,"hunter2","hunter2"],{"x":"pin_zz"}]')
    for page in (admin_client.get(reverse(RESULTS)).content.decode(), job_page(admin_client, row.id)):
        assert "hunter2" not in page
        assert "pin_zz" not in page


def test_a_list_shows_the_arguments_before_a_long_one_and_no_secret(admin_client: Client) -> None:
    long = "x" * 500
    payload = f'[["ann","hunter2"],{{"options":1,"pin":"pin_zz","b":"{long}"}}]'
    result(task_path="tests.app.tasks.log_in", payload=payload)
    result(task_path="tests.app.tasks.log_in", payload=f'[["bob","hunter2{long}"],{{}}]')
    page = admin_client.get(reverse(RESULTS)).content.decode()
    assert "(user=&quot;ann&quot;, password=&quot;••••&quot;, options=1, pin=&quot;" in page
    assert "(user=&quot;bob&quot;, …)" in page
    assert "hunter2" not in page
    assert "pin_zz" not in page


def test_an_end_without_an_attempt_of_its_own_shows_its_exception(admin_client: Client) -> None:
    row = result(status="FAILED", exception_class="shop.WorkerGone", message="the process died", attempts=2)
    attempt(row, 1, exception_class="shop.First", traceback="in line 1")
    page = job_page(admin_client, row.id)
    assert "<h2><bdi>shop.WorkerGone</bdi></h2>" in page
    assert "the process died" in page
    assert re.search(r"<summary><bdi>shop\.First", page)


def test_a_success_shows_its_failed_attempts_as_past(admin_client: Client) -> None:
    row = result(attempts=2)
    attempt(row, 1, exception_class="shop.First", traceback="in line 1")
    page = job_page(admin_client, row.id)
    assert "taskq-error" not in page
    assert re.search(r"<summary><bdi>shop\.First", page)


def test_long_texts_and_many_attempts_are_cut(admin_client: Client) -> None:
    row = result(status="FAILED", exception_class="shop.Last", attempts=25, return_value=f'"{"r" * 200_000}"')
    for number in range(1, 25):
        attempt(row, number, exception_class="shop.Earlier", traceback="short")
    attempt(row, 25, exception_class="shop.Last", traceback="t" * 200_000 + "the end", message="m" * 200_000)
    page = job_page(admin_client, row.id)
    assert len(page) < 250_000
    assert "the end" in page
    assert page.count("<summary><bdi>shop.Earlier") == 19  # and the last one above them
    assert "5 earlier failed attempts are not shown." in page


def test_a_row_has_no_link_within_a_link(admin_client: Client) -> None:
    result()
    rows = admin_client.get(reverse(RESULTS)).content.decode().partition("<tbody>")[2]
    assert not re.search(r"<a [^>]*>\s*<a ", rows)


def test_nothing_can_be_added_or_changed(admin_client: Client) -> None:
    row = result()
    for model in ("jobresult", "queuedjob"):
        assert admin_client.get(reverse(f"admin:taskq_django_{model}_add")).status_code == 403
    changed = admin_client.post(reverse("admin:taskq_django_jobresult_change", args=[row.id]), {"status": "FAILED"})
    assert changed.status_code == 302
    deleted = admin_client.post(reverse("admin:taskq_django_jobresult_delete", args=[row.id]), {"post": "yes"})
    assert deleted.url == reverse("admin:taskq_django_job", args=[row.id])  # type: ignore[attr-defined]
    assert JobResult.objects.get().status == "SUCCESSFUL"


def test_the_stock_address_of_a_row_leads_to_the_page_of_its_job(admin_client: Client) -> None:
    row = result()
    answer = admin_client.get(reverse("admin:taskq_django_jobresult_change", args=[row.id]))
    assert answer.url == reverse("admin:taskq_django_job", args=[row.id])  # type: ignore[attr-defined]

    for typed in (row.id.replace("-", ""), str(row.id).upper()):
        answer = admin_client.get(reverse("admin:taskq_django_queuedjob_change", args=[typed]))
        assert answer.url == reverse("admin:taskq_django_job", args=[row.id])  # type: ignore[attr-defined]


def test_an_address_that_is_no_id_leads_to_the_list(admin_client: Client) -> None:
    answer = admin_client.get(reverse("admin:taskq_django_jobresult_change", args=["nonsense"]))
    assert answer.url == reverse(RESULTS)  # type: ignore[attr-defined]


def test_an_unknown_job_is_not_found(admin_client: Client) -> None:
    assert admin_client.get(reverse("admin:taskq_django_job", args=[uuid4()])).status_code == 404


def test_only_who_may_view_jobs_sees_them(client: Client) -> None:
    row = result()
    address = reverse("admin:taskq_django_job", args=[row.id])
    assert client.get(address).status_code == 302
    user = User.objects.create_user("viewer", is_staff=True)
    client.force_login(user)
    assert client.get(address).status_code == 403
    assert client.get(reverse(RESULTS)).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_jobresult"))
    assert client.get(address).status_code == 200
    assert client.get(reverse(RESULTS)).status_code == 200
    assert client.get(reverse(QUEUED)).status_code == 403


@pytest.mark.parametrize(
    "term", ["nothing", "%", "\\", "'", "tests.app", "0" * 400, "\0", "<b>", "0199e000-0000-7000-8000-000000000000"]
)
def test_any_search_is_answered(admin_client: Client, term: str) -> None:
    result()
    for name in (RESULTS, QUEUED):
        assert admin_client.get(reverse(name), {"q": term}).status_code == 200


@pytest.mark.parametrize("query", [{"status": "FAILED"}, {"task": "tests.app.tasks.explode"}, {"queue": "mail"}])
def test_filters_leave_the_others_out(admin_client: Client, query: dict[str, str]) -> None:
    kept = result(status="FAILED", task_path="tests.app.tasks.explode", queue_name="mail")
    other = result()
    page = admin_client.get(reverse(RESULTS), query).content.decode()
    assert str(kept.id) in page
    assert str(other.id) not in page


@pytest.mark.parametrize("name", ["status", "task", "queue"])
@pytest.mark.parametrize("value", ["nothing", "\0", EVIL])
def test_any_filter_is_answered(admin_client: Client, name: str, value: str) -> None:
    result()
    answer = admin_client.get(reverse(RESULTS), {name: value})
    assert answer.status_code == 200
    assert EVIL not in answer.content.decode()


def test_the_queues_of_the_settings_can_be_chosen(admin_client: Client, settings: Any) -> None:
    settings.TASKS = {"default": {**settings.TASKS["default"], "QUEUES": ["default", "reports"]}}
    assert '<option value="reports">' in admin_client.get(reverse(RESULTS)).content.decode()


def test_counts_stop_at_their_limit(admin_client: Client, settings: Any) -> None:
    settings.TASKQ = {"ADMIN": {"COUNT_LIMIT": 5, "PAGE_SIZE": 2}}
    for _ in range(8):
        result()
    answer = admin_client.get(reverse(RESULTS))
    assert answer.context["cl"].result_count == 5
    assert len(answer.context["cl"].result_list) == 2
    assert "There are more than these." in answer.content.decode()
    assert "There are more" not in admin_client.get(reverse(QUEUED)).content.decode()


@pytest.mark.parametrize("name", [RESULTS, QUEUED])
def test_a_list_asks_few_questions_however_long_it_is(
    admin_client: Client, name: str, django_assert_max_num_queries: Any
) -> None:
    tasks.add.enqueue_many([(n,) for n in range(40)])
    run_all(limit=20)
    with django_assert_max_num_queries(10):  # five of them count, and no further than the limit
        admin_client.get(reverse(name))


def test_a_list_loads_no_long_text(admin_client: Client, django_assert_max_num_queries: Any) -> None:
    long = "x" * 500_000
    result(payload=f'[["{long}"],{{}}]', return_value=f'"{long}"', message=long, status="FAILED")
    with django_assert_max_num_queries(10) as captured:
        page = admin_client.get(reverse(RESULTS)).content
    assert len(page) < 100_000
    rows = [query["sql"] for query in captured if "substr" in query["sql"].lower()]
    assert rows
    assert '"return_value"' not in rows[0]


def test_pages_need_no_inline_script_or_style(admin_client: Client) -> None:
    sent = tasks.explode.enqueue()
    run_all()
    content = job_page(admin_client, sent.id).partition('id="content-main"')[2]
    assert "style=" not in content
    assert "<script" not in content
    assert not re.search(r"\son\w+=", content)


def test_without_time_zones_the_pages_work(admin_client: Client, settings: Any) -> None:
    settings.USE_TZ = False
    naive = NOW.replace(tzinfo=None)
    row = result(enqueued_at=naive, started_at=None, last_attempted_at=None, finished_at=naive)
    assert admin_client.get(reverse(RESULTS)).status_code == 200
    job_page(admin_client, row.id)
    QueuedJob.objects.create(
        task_path="a.b",
        backend="default",
        queue_name="q",
        status="READY",
        rank=0,
        available_at=naive,
        enqueued_at=naive,
        payload="[[],{}]",
    )
    assert admin_client.get(reverse(QUEUED)).status_code == 200


def test_a_job_that_only_its_broker_knows_has_a_page(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = job(payload='[[1],{"password":"s3cret-pw"}]', enqueued_at=NOW.timestamp(), queue_name="mail", priority=7)
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    monkeypatch.setattr(broker, "find", lambda ids: {waiting.id: Found(waiting, State.RUNNING, "w7")})

    page = job_page(admin_client, waiting.id)

    assert "tests.app.tasks.add" in page
    assert "mail" in page
    assert "w7" in page
    assert "s3cret-pw" not in page


def test_an_id_that_nobody_knows_has_no_page_also_where_a_broker_is_away(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(ids: Any) -> None:
        raise BrokerUnavailable("the engine is away")

    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    monkeypatch.setattr(broker, "find", refuse)
    assert admin_client.get(reverse("admin:taskq_django_job", args=[uuid4()])).status_code == 404
