"""The page of tasks, and the form that enqueues one."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from taskq_django.models import JobResult, QueuedJob
from taskq_django.store.counts import FAILED, SUCCEEDED, Kind, Spans, Tally, bucket_of
from taskq_django.testing import run_all
from tests.app import signatures, tasks
from tests.support.schedule_pages import PREFIX, arguments, texts, user

pytestmark = pytest.mark.django_db

ADD = tasks.add.module_path


def url(path: str = "") -> str:
    name = "admin:taskq_django_registeredtask_"
    return reverse(f"{name}run", args=[path]) if path else reverse(f"{name}changelist")


def run(client: Client, path: str, **given: Any) -> Any:
    return client.post(url(path), arguments(**given), follow=True)


def errors(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return {"" if name == "__all__" else name: list(found) for name, found in answer.context["form"].errors.items()}


def test_each_task_is_shown_with_its_signature_and_its_figures_of_the_day(admin_client: Client) -> None:
    tally = Tally()
    tally.ends[SUCCEEDED], tally.ends[FAILED] = 40, 2
    tally.runs[bucket_of(0.003)] = 42
    Spans("w", "default").add({Kind("default", "default", ADD): tally})

    page = admin_client.get(url(), {"q": "tests.app.tasks.add"}).content.decode()

    assert "add(x: int, y: int = 2)" in page
    assert '<td class="taskq-number">40</td>' in page
    assert "task=tests.app.tasks.add" in page, "failures lead to the results"
    assert "2.9\xa0ms / 3.8\xa0ms" in page
    assert "tests.app.tasks.explode" not in page


def test_a_task_is_enqueued_as_its_form_says(admin_client: Client) -> None:
    answer = run(admin_client, ADD, x="3", y="4")

    assert run_all() == 1
    result = JobResult.objects.get()
    assert (result.return_value, result.payload) == ("7", '[[],{"x":3,"y":4}]')
    assert str(result.id) in texts(answer)[0]
    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.change_message) == (ADD, f"Enqueued as job {result.id}.")


def test_what_is_left_empty_is_the_functions_own_matter(admin_client: Client) -> None:
    run(admin_client, ADD, x="3")
    run_all()
    assert JobResult.objects.get().return_value == "5"


@pytest.mark.parametrize(
    ("given", "field"), [({}, "arg-x"), ({"x": "three"}, "arg-x"), ({"x": "1", "y": "z"}, "arg-y")]
)
def test_an_argument_that_does_not_fit_is_refused_at_its_field(
    admin_client: Client, given: dict[str, str], field: str
) -> None:
    assert list(errors(run(admin_client, ADD, **given))) == [field]
    assert not QueuedJob.objects.exists()
    assert not LogEntry.objects.exists()


def test_only_a_registered_task_is_reached(admin_client: Client) -> None:
    for path in ("os.system", "tests.app.late.bill", "tests.app.tasks.gone", "x"):
        assert admin_client.get(url(path)).status_code == 404, path
        assert admin_client.post(url(path), arguments(x="1")).status_code == 404, path
    assert not QueuedJob.objects.exists()


def test_a_viewer_may_look_and_not_run() -> None:
    viewer = user("view_registeredtask")
    assert "You may not run this task." in viewer.get(url(ADD)).content.decode()
    assert viewer.post(url(ADD), arguments(x="1")).status_code == 403
    assert not QueuedJob.objects.exists()


def test_a_tasks_own_permission_is_asked() -> None:
    somebody = user("view_registeredtask", "enqueue_task")
    assert somebody.post(url(signatures.billing.module_path)).status_code == 403
    assert somebody.post(url(ADD), arguments(x="1")).status_code == 302


def test_secrets_come_into_the_job_and_back_to_nobody(admin_client: Client) -> None:
    path = f"{PREFIX}secretive"
    answer = run(admin_client, path, pin="hunter2", password="hunter3")
    assert list(errors(answer)) == ["arg-user"]
    assert "hunter" not in answer.content.decode()

    run(admin_client, path, user="ann", pin="hunter2")
    assert "hunter2" in QueuedJob.objects.get().payload
    assert "hunter" not in admin_client.get(url()).content.decode()
