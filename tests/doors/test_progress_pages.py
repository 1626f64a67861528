"""What visitors see of how far a job is, at an address that only they have."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.signing import Signer
from django.db import OperationalError, connection
from django.template import Context, Template
from django.test import Client
from django.urls import reverse
from django.utils import translation
from pytest_django import Settings

from taskq_django import Result
from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.compat import task_backends
from taskq_django.exceptions import BrokerUnavailable, ConfigurationError
from taskq_django.jobs import Claim, Progress
from taskq_django.models import JobResult, QueuedJob
from taskq_django.pages.progress import token_of
from taskq_django.states import State
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.sending import job

pytestmark = pytest.mark.django_db

NAMES = ("progress", "progress_bar", "progress_json")


def address(result: Result[Any], name: str = "progress") -> str:
    return reverse(f"taskq_django:{name}", args=[token_of(result)])


def seen(client: Client, result: Result[Any], name: str = "progress") -> str:
    answer = client.get(address(result, name))
    assert answer.status_code == 200
    return answer.content.decode()


def claimed(result: Result[Any]) -> Claim:
    """It runs, as far as the store knows."""
    QueuedJob.objects.filter(id=result.id).update(status=State.RUNNING, attempts=1)
    return Claim(job(id=result.id, attempts=1), "", 0.0)


def running(done: float, total: float | None = None, text: str = "") -> Result[Any]:
    """The handle of a job that has said this."""
    result = tasks.add.enqueue(1)
    DatabaseBroker("default").note_progress([(claimed(result), Progress(done, total, text))], waits=True)
    result.refresh()
    return result


def rendered(result: Any, **context: Any) -> str:
    return Template("{% load taskq %}{% taskq_progress result %}").render(Context({"result": result, **context}))


def test_a_running_job_shows_how_far_it_is(client: Client) -> None:
    page = seen(client, running(3, 8, "copying"))

    assert '<progress value="0.3750" aria-label="Progress">' in page
    assert "3 of 8" in page
    assert "copying" in page
    assert re.search(r'role="status">Running<', page)


@pytest.mark.parametrize(
    ("result", "word", "value"),
    [
        (lambda: tasks.add.enqueue(1), "Waiting", None),
        (lambda: tasks.add.using(run_after=3600).enqueue(1), "Waiting", None),
        (lambda: running(5), "Running", None),
        (lambda: running(0, 0), "Running", "1.0000"),
    ],
    ids=["ready", "scheduled", "without a total", "of nothing"],
)
def test_what_is_not_known_moves_without_a_number(client: Client, result: Any, word: str, value: str | None) -> None:
    page = seen(client, result())
    assert f'role="status">{word}<' in page
    assert re.findall(r'<progress(?: value="(.*?)")? aria', page) == [value or ""]


@pytest.mark.parametrize(
    ("task", "given", "word", "value", "count"),
    [
        (tasks.count_to, (4,), "Done", "1.0000", "4 of 4"),
        (tasks.add, (4,), "Done", "1.0000", None),
        (tasks.fail_at, (3, 10), "Failed", "0.4000", "4 of 10"),
        (tasks.explode, (), "Failed", "0.0000", None),
        (tasks.no_thanks, (), "Cancelled", "0.0000", None),
    ],
    ids=["success", "success of the silent", "failure", "failure of the silent", "discarded"],
)
def test_an_end_is_shown_and_followed_no_more(
    client: Client, task: Any, given: Any, word: str, value: str, count: str | None
) -> None:
    result = task.enqueue(*given)
    assert "http-equiv" in seen(client, result)
    run_all()

    page = seen(client, result)
    assert f'role="status">{word}<' in page
    assert f'value="{value}"' in page
    assert ("http-equiv" in page, "<script" in page, "<noscript" in page) == (False, False, False)
    if count:
        assert count in page


def test_nothing_else_of_the_job_is_shown(client: Client) -> None:
    result = tasks.echo.enqueue("a secret")
    failed = tasks.fail_at_length.enqueue("another secret", 1)
    run_all()
    for each in (result, failed):
        told = "".join(seen(client, each, name) for name in NAMES)
        assert "secret" not in told
        assert "ValueError" not in told


def test_what_a_task_says_is_text_and_no_markup(client: Client) -> None:
    result = running(1, 2, "<script>alert(1)</script>\"'")
    for name in ("progress", "progress_bar"):
        assert "<script>alert" not in seen(client, result, name)
    assert "&lt;script&gt;alert(1)" in rendered(result)
    assert client.get(address(result, "progress_json")).json()["text"] == "<script>alert(1)</script>\"'"


def test_a_program_reads_it_as_json(client: Client) -> None:
    result = running(3, 8, "copying")
    told = client.get(address(result, "progress_json")).json()
    assert told.pop("updated_at").startswith("20")
    assert told == {
        "state": "RUNNING",
        "is_final": False,
        "done": 3,
        "total": 8,
        "fraction": 0.375,
        "text": "copying",
    }
    silent = client.get(address(tasks.add.enqueue(1), "progress_json")).json()
    assert (silent["state"], silent["done"], silent["text"], silent["updated_at"]) == ("READY", None, None, None)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_finds_a_job_by_its_id_or_by_another_signature(client: Client, name: str) -> None:
    result = tasks.add.enqueue(1)
    told = ["default", result.id]
    forged = [result.id, Signer(salt="another").sign_object(told), token_of(result)[:-1], f"x{token_of(result)}"]
    for token in forged:
        assert client.get(reverse(f"taskq_django:{name}", args=[token])).status_code == 404, token


@pytest.mark.parametrize("name", NAMES)
def test_what_is_known_no_more_is_not_found(client: Client, settings: Settings, name: str) -> None:
    result = tasks.add.enqueue(1)
    run_all()
    JobResult.objects.all().delete()
    assert client.get(address(result, name)).status_code == 404
    there = address(result, name)
    settings.TASKS = {"other": {"BACKEND": "taskq_django.TaskqBackend"}}
    assert client.get(there).status_code == 404


@pytest.mark.parametrize("name", NAMES)
def test_pages_are_asked_for_anew_and_change_nothing(client: Client, name: str) -> None:
    there = address(tasks.add.enqueue(1), name)
    assert "no-store" in client.get(there).headers["Cache-Control"]
    assert client.post(there).status_code == 405


@pytest.mark.parametrize("name", NAMES)
def test_while_nobody_can_tell_they_say_when_to_ask_again(
    client: Client, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    there = address(tasks.add.enqueue(1), name)

    def away(*args: Any) -> Any:
        raise BrokerUnavailable("away")

    monkeypatch.setattr(type(task_backends["default"]), "get_result", away)
    answer = client.get(there)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("table", ["", "jobprogress"], ids=["at once", "when the progress is asked for"])
@pytest.mark.parametrize("name", NAMES)
def test_while_the_store_is_away_they_say_so_too(client: Client, name: str, table: str) -> None:
    there = address(running(1, 2), name)

    def refuse(execute: Any, sql: str, *given: Any) -> Any:
        if f"taskq_django_{table}" in sql:
            raise OperationalError("connection refused")
        return execute(sql, *given)

    with connection.execute_wrapper(refuse):
        answer = client.get(there)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("language", ["de", "ar"])
def test_numbers_of_other_languages_do_not_break_the_bar(client: Client, settings: Settings, language: str) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    settings.LANGUAGE_CODE = language
    result = running(1234.5, 10_000)
    with translation.override(language):
        page = seen(client, result)
    assert 'value="0.1234"' in page or 'value="0.1235"' in page
    assert f'lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}"' in page


def test_the_tag_asks_one_query_and_none_of_what_was_read(django_assert_num_queries: Any) -> None:
    result = running(3, 8)
    with django_assert_num_queries(1):
        rendered(result)
    with django_assert_num_queries(0):
        assert "3 of 8" in rendered(result)


def test_the_tag_gives_its_script_the_nonce_of_the_page() -> None:
    class Unasked:
        """As Django's: false until it is written."""

        def __bool__(self) -> bool:
            return False

        def __str__(self) -> str:
            return "abc"

    result = tasks.add.enqueue(1)
    assert 'progress.js" nonce="abc">' in rendered(result, csp_nonce=Unasked())
    assert 'progress.js">' in rendered(result)


def test_the_tag_says_what_it_needs(settings: Settings) -> None:
    result = tasks.add.enqueue(1)
    with pytest.raises(TypeError, match=r"needs the Result of a job, not '.*' \(str\): pass what enqueue\(\)"):
        rendered(result.id)
    settings.ROOT_URLCONF = "example_project.example.urls"
    with pytest.raises(ConfigurationError, match=r'add path\("tasks/", include\("taskq_django.urls"\)\)'):
        rendered(result)
