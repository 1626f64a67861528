"""A job once more with changes: the form that has its call, and the new job that comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from taskq_django import task
from taskq_django.models import JobResult, QueuedJob
from taskq_django.states import State
from taskq_django.testing import run_all
from tests.app import signatures, tasks
from tests.support.schedule_pages import user

pytestmark = pytest.mark.django_db

SECRET = "hunter2"


@task(sensitive=("pin", "rest", "more"))
def pay(user: str, pin: Any = None, *rest: Any, **more: Any) -> None: ...


@task
def pay_since(user: str, code: Any = None, *rest: Any, **more: Any) -> None: ...


def again(client: Client, id_: object, **given: str) -> Any:
    filled = {"queue_name": "default", "priority": "0", "due": "", **given}
    return client.post(reverse("admin:taskq_django_job_again", args=[id_]), filled, follow=True)


def test_a_job_is_enqueued_anew_with_other_arguments(admin_client: Client) -> None:
    sent = tasks.add.using(metadata={"tenant": 7}).enqueue("no", y=3)
    run_all()

    form = admin_client.get(reverse("admin:taskq_django_job_again", args=[sent.id])).content.decode()
    assert 'name="arg-y" value="3"' in form
    answer = again(admin_client, sent.id, **{"arg-x": "4", "arg-y": "3", "queue_name": "mail", "priority": "7"})

    row = QueuedJob.objects.get()
    assert (row.task_path, row.queue_name, row.priority) == (tasks.add.module_path, "mail", 7)
    new = tasks.add.get_result(str(row.id))
    assert (new.args, new.kwargs, new.metadata) == ([], {"x": 4, "y": 3}, {"tenant": 7})
    assert answer.redirect_chain[-1][0] == reverse("admin:taskq_django_job", args=[row.id])
    assert JobResult.objects.get().status == State.FAILED
    assert {entry.object_id for entry in LogEntry.objects.all()} == {str(row.id), sent.id}


def test_wrong_arguments_are_an_error_of_their_field(admin_client: Client) -> None:
    sent = tasks.add.enqueue(1)
    run_all()
    for given in (
        {"arg-x": "four"},
        {"arg-x": ""},
        {"arg-x": "1", "queue_name": "a\0b"},
        {"arg-x": "1", "priority": "101"},
    ):
        page = again(admin_client, sent.id, **given)
        assert "errorlist" in page.content.decode(), given
    assert not QueuedJob.objects.exists()


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu"])
def test_a_time_of_more_than_a_hundred_years_is_an_error_of_its_field(
    admin_client: Client, settings: Any, zone: str
) -> None:
    settings.TIME_ZONE = zone
    sent = tasks.add.enqueue(1)
    for due in ("9999-12-31T23:00", "2199-01-01T00:00"):
        page = again(admin_client, sent.id, **{"arg-x": "1", "due": due})
        assert page.context["form"].errors == {"due": ["Say a moment within a hundred years."]}
    assert QueuedJob.objects.count() == 1
    again(admin_client, sent.id, **{"arg-x": "1", "due": "0001-01-01T00:00"})  # over: at once
    again(admin_client, sent.id, **{"arg-x": "1", "due": "2101-01-01T00:00"})
    assert sorted(QueuedJob.objects.values_list("status", flat=True)) == [State.READY, State.READY, State.SCHEDULED]


def test_a_job_of_a_backend_that_is_gone_says_so_in_the_form(admin_client: Client) -> None:
    sent = tasks.add.enqueue(1)
    run_all()
    JobResult.objects.update(backend="gone")
    page = again(admin_client, sent.id, **{"arg-x": "1"})
    assert "&#x27;gone&#x27;" in page.content.decode()
    assert "__all__" in page.context["form"].errors
    assert not QueuedJob.objects.exists()


def test_a_secret_is_in_no_form_and_is_sent_again_when_it_is_left(admin_client: Client) -> None:
    sent = tasks.log_in.enqueue("ann", "hunter2", options={"a": 1}, pin="pin_zz")
    run_all()
    form = admin_client.get(reverse("admin:taskq_django_job_again", args=[sent.id])).content.decode()
    assert "ann" in form
    assert not {"hunter2", "pin_zz"} & set(form.split('"'))
    again(admin_client, sent.id, **{"arg-user": "bob", "arg-password": "", "arg-options": '{"a": 1}', "arg-pin": ""})
    new = tasks.log_in.get_result(str(QueuedJob.objects.get().id))
    assert new.kwargs == {"user": "bob", "password": "hunter2", "options": {"a": 1}, "pin": "pin_zz"}


@pytest.mark.parametrize("missing", ["enqueue_task", "view_payload", "view_jobresult"])
def test_who_may_enqueue_again_sees_the_call_and_may_enqueue(missing: str) -> None:
    sent = tasks.add.enqueue(1)
    run_all()
    somebody = user(*{"enqueue_task", "view_payload", "view_jobresult"} - {missing})
    assert somebody.get(reverse("admin:taskq_django_job_again", args=[sent.id])).status_code == 403
    assert again(somebody, sent.id, **{"arg-x": "1"}).status_code == 403
    assert not QueuedJob.objects.exists()


def test_who_may_not_see_the_new_job_is_led_to_the_list_of_the_old_one() -> None:
    sent = tasks.add.enqueue(1)
    run_all()
    answer = again(user("enqueue_task", "view_payload", "view_jobresult"), sent.id, **{"arg-x": "1"})
    assert answer.status_code == 200
    assert answer.redirect_chain == [(reverse("admin:taskq_django_jobresult_changelist"), 302)]
    assert QueuedJob.objects.count() == 1


def test_a_task_says_who_may_give_it_arguments(admin_user: User) -> None:
    sent = signatures.billing.enqueue()
    somebody = user("enqueue_task", "view_payload", "view_queuedjob")
    assert somebody.get(reverse("admin:taskq_django_job_again", args=[sent.id])).status_code == 403


def test_a_job_whose_code_is_gone_cannot_be_enqueued_again(admin_client: Client) -> None:
    sent = tasks.add.enqueue(1)
    QueuedJob.objects.update(task_path="shop.gone")
    assert admin_client.get(reverse("admin:taskq_django_job_again", args=[sent.id])).status_code == 403
    assert "again/" not in admin_client.get(reverse("admin:taskq_django_job", args=[sent.id])).content.decode()


@pytest.mark.parametrize(
    ("args", "kwargs", "field"),
    [
        (("ann", SECRET), {}, "code"),
        (("ann", {"a": [SECRET]}), {}, "code"),
        (("ann", 1, SECRET), {}, "rest"),
        (("ann",), {"card": SECRET}, "more"),
        (("ann",), {"pin": SECRET}, "more"),
    ],
    ids=["by position", "nested", "in *rest", "in **more", "renamed"],
)
def test_what_was_a_secret_when_it_was_enqueued_stays_one_after_a_deploy(
    admin_client: Client, args: Any, kwargs: Any, field: str
) -> None:
    sent = pay.enqueue(*args, **kwargs)
    QueuedJob.objects.update(task_path=pay_since.module_path)

    page = admin_client.get(reverse("admin:taskq_django_job_again", args=[sent.id])).content.decode()
    assert ('value="ann"' in page or ">\nann</textarea>" in page, SECRET in page) == (True, False)
    refused = again(admin_client, sent.id, **{"arg-user": "ann", "priority": "no"}).content.decode()
    assert ("errorlist" in refused, SECRET in refused) == (True, False)

    again(admin_client, sent.id, **{"arg-user": "bob"})
    new = QueuedJob.objects.exclude(id=sent.id).get()
    assert SECRET in new.payload  # left empty, it stays


def test_of_a_job_that_does_not_tell_what_is_secret_nothing_is_shown(admin_client: Client) -> None:
    sent = pay_since.enqueue("ann", SECRET)
    QueuedJob.objects.update(headers="[not headers")
    page = admin_client.get(reverse("admin:taskq_django_job_again", args=[sent.id])).content.decode()
    assert ("arg-code" in page, "ann" in page, SECRET in page) == (True, False, False)
