"""A secret is in no page, no error, no log line and no repr."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from taskq_django import every, task
from taskq_django.admin.masking import MASK, holds_secret, masked
from taskq_django.compat import InvalidTask, task_backends
from taskq_django.exceptions import ArgumentError, SpecError
from taskq_django.handles import all_stories
from taskq_django.jobs import Claim, Succeeded
from taskq_django.testing import run_all
from tests.app import tasks
from tests.support.schedule_pages import schedule
from tests.support.schedule_pages import url as schedule_url
from tests.support.sending import job

pytestmark = pytest.mark.once

SECRET = "hunter2"


class Card(Enum):
    TEST = "4242"


@task(sensitive=["card", "rest", "more"])
def charge(user: str, card: Any, kind: Card = Card.TEST, *rest: Any, **more: Any) -> None: ...


@task
def connect(url: Any, options: Any = None, secret_card: Card = Card.TEST) -> Any:
    return url


@task
def fail_at(url: str) -> None:
    raise ConnectionError(f"no answer from {url}")


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enqueue", "words"),
    [
        (lambda: charge.enqueue("a", {SECRET: object()}), "argument 'card'[…] of type object"),
        (lambda: charge.enqueue("a", [[{SECRET: object()}]]), "argument 'card'[…] of type object"),
        (lambda: charge.enqueue("a", {(SECRET,): 1}), "a key of argument 'card' is … of type tuple"),
        (lambda: charge.enqueue("a", card={SECRET: {1: 2}}), "a key of argument 'card'[…] is … of type int"),
        (lambda: charge.enqueue("a", "b", Card.TEST, {SECRET: object()}), "args[3][…] of type object"),
        (lambda: charge.enqueue("a", "b", pin={SECRET: object()}), "argument 'pin'[…] of type object"),
        (lambda: connect.enqueue("a", {"password": {SECRET: object()}}), "argument 'options'['password'][…] of type"),
        (lambda: connect.enqueue("a", secret_card=SECRET), "argument 'secret_card' cannot be made again"),
        (lambda: every(hours=1, args=SECRET), "args must be a list or a tuple, not of type str"),
        (lambda: every(hours=1, kwargs=[SECRET]), "kwargs must be a dict, not of type list"),
        (
            lambda: task(schedule=[every(hours=1, kwargs={"pin": SECRET}), 3])(tasks.add.func),
            "schedule must be cron(…)",
        ),
    ],
)
def test_an_error_tells_nothing_of_what_is_within_a_secret(enqueue: Callable[[], Any], words: str) -> None:
    with pytest.raises((ArgumentError, SpecError, InvalidTask)) as refusal:
        enqueue()
    assert words in str(refusal.value)
    error: BaseException | None = refusal.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ if error.__suppress_context__ else error.__context__


def test_of_another_argument_the_path_is_told() -> None:
    with pytest.raises(ArgumentError, match=r"argument 'options'\['a'\]\[0\] of type object"):
        connect.enqueue("a", {"a": [object()]})


# --- reprs ------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_what_carries_arguments_or_results_does_not_show_them() -> None:
    sent = charge.using(metadata={"a": SECRET}).enqueue("ann", SECRET)
    secret = job(payload=f'[["{SECRET}"],{{}}]', headers=f'{{"metadata":{{"a":"{SECRET}"}}}}')
    claim = Claim(secret, "receipt", 0.0)
    story = all_stories([sent.id], task_backends["default"].broker)[sent.id]  # type: ignore[attr-defined]

    for each in (secret, claim, Succeeded(claim, 0, 1, f'"{SECRET}"'), story, sent, every(hours=1, args=[SECRET])):
        assert SECRET not in f"{each!r} {each}"
    assert (secret.id in repr(claim), "tests.app.tasks.add" in repr(claim)) == (True, True)


# --- pages ------------------------------------------------------------------------------------------------------------

NAMES = [
    "pwd",
    "db_pwd",
    "cvv",
    "CVC",
    "ssn",
    "credentials",
    "aws_credential",
    "password",
    "api_token",
    "Authorization",
]
URLS = [
    f"postgres://ann:{SECRET}@host:5432/db",
    f"redis://:{SECRET}@host",
    f"https://{SECRET}@github.com/x",
    f'{{"a":"http://x.com/p","b":"redis://:{SECRET}@h"}}',
    f"https://x.com/cb,redis://:{SECRET}@h:6379/0",
    f"(https://x.com/p)->amqp://u:{SECRET}@h",
    f"https://x.com/p,postgresql+psycopg://u:{SECRET}@h",
    f"https://x.com/p,{'a' * 40}://u:{SECRET}@h",
    f"https://x.com/p,a+://u:{SECRET}@h",
    f"amqp://ann:p/{SECRET}@x@host",
    f"see https://host/?password={SECRET}&a=1",
    f"https://host/?a=1&api_key={SECRET}#x",
    f"jdbc:postgresql://host/db;password={SECRET}",
    f"a b://c\nd://ann:{SECRET}@e",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_means_a_secret_is_masked(name: str) -> None:
    assert masked({"a": [{name: SECRET}], "user": "ann"}) == {"a": [{name: MASK}], "user": "ann"}


@pytest.mark.parametrize("url", URLS)
def test_a_password_within_a_url_is_masked_and_the_rest_is_shown(url: str) -> None:
    shown = masked({"url": [url]})["url"][0]

    assert (SECRET in shown, MASK in shown, "://" in shown) == (False, True, True)
    assert holds_secret([url], frozenset())


@pytest.mark.parametrize(
    "text",
    ["https://host:8000/path?a=1&page=2", "https://medium.com/@ann", "ann@host", "no url", "://", "a://b c@d", "::@//"],
)
def test_any_other_text_is_shown_as_it_is(text: str) -> None:
    assert masked(text) == text
    assert not holds_secret(text, frozenset())


@pytest.mark.parametrize(
    "text",
    [
        "://" * 300_000 + "@",
        "a://:" + ":@" * 400_000,
        "://?" + "&a" * 400_000,
        "x://" + "a." * 500_000,
        "x://" + "a+" * 500_001,
        "x://" + "a" * 1_000_005,
        "x://a" + "-" * 1_000_006,
        "a://" * 300_002,
    ],
    ids=len,
)
def test_a_long_text_is_masked_in_one_walk(text: str) -> None:
    assert masked(text)  # a walk from each of its signs would not end before the run's own limit


@pytest.mark.django_db
@pytest.mark.parametrize("url", URLS)
def test_no_page_shows_a_password_within_a_url(admin_client: Client, url: str) -> None:
    ended, failed = connect.enqueue(url, {"at": url}), fail_at.enqueue(url)
    run_all()
    waits = connect.enqueue(url)
    row = schedule(task_path=connect.module_path, kwargs={"url": url, "options": [url]})

    addresses = [reverse(f"admin:taskq_django_{name}_changelist") for name in ("queuedjob", "jobresult", "schedule")]
    addresses += [reverse("admin:taskq_django_job", args=[each.id]) for each in (ended, failed, waits)]
    addresses += [schedule_url(name, row) for name in ("change", "history", "delete")]
    for address in addresses:
        answer = admin_client.get(address)
        assert answer.status_code == 200
        assert SECRET not in answer.content.decode(), address
