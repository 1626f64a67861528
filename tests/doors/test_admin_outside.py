"""What the list of queued jobs shows of those that wait in an engine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from taskq_django import control
from taskq_django.admin import outside
from taskq_django.brokers import Broker
from taskq_django.compat import task_backends
from tests.app import tasks
from tests.support.sending import job, unused_name
from tests.support.usage import takes_at_most

if TYPE_CHECKING:
    from tests.support.redis_servers import Redis

pytestmark = pytest.mark.django_db(transaction=True)

OURS = "taskq_django.TaskqBackend"
QUEUED = "admin:taskq_django_queuedjob_changelist"
EVIL = "<script>alert(1)</script>"


def backends(*urls: str) -> dict[str, Any]:
    aliases = ["default", "second", "third"]
    return {
        alias: {"BACKEND": OURS, "OPTIONS": {"broker": url, "name": unused_name()}}
        for alias, url in zip(aliases, urls, strict=False)
    } | ({"plain": {"BACKEND": OURS}} if urls else {})


@pytest.fixture
def broker(redis_server: Redis, settings: Settings) -> Iterator[Broker]:
    settings.TASKS = backends(redis_server.url)
    broker = task_backends["default"].broker  # type: ignore[attr-defined]
    yield broker
    broker.close()


def shown(client: Client, **address: str) -> str:
    answer = client.get(reverse(QUEUED), address)
    assert answer.status_code == 200
    return answer.content.decode()


def queues(page: str) -> list[list[str]]:
    """The cells of the table of queues, as text."""
    tables = re.findall(r'<table class="taskq-depths">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    rows = [row for table in tables for row in re.findall("<tr>(.*?)</tr>", table, re.DOTALL)]
    cells = [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[unescape(re.sub("<[^>]*>", "", cell)) for cell in row] for row in cells]


def ids(page: str) -> list[str]:
    """Of the jobs that wait in an engine, in their order."""
    tables = re.findall(r'<table class="taskq-first">(.*?)</table>', page, re.DOTALL)
    return re.findall(r"job/([0-9a-f-]{36})/", "".join(tables))


def test_each_queue_and_its_next_jobs_are_shown_beside_the_rows(broker: Broker, admin_client: Client) -> None:
    first, second = tasks.add.enqueue(1), tasks.add.enqueue(2)
    urgent = tasks.add.using(priority=50).enqueue(3)
    mail = tasks.add.using(queue_name="mail").enqueue(4)
    control.pause("mail", broker)

    page = shown(admin_client)

    assert [each[:3] for each in queues(page)] == [["default", "3", "0"], ["mail paused", "1", "0"]]
    assert ids(page) == [urgent.id, first.id, second.id, mail.id]
    assert "Waiting in Redis at 127.0.0.1:" in page
    assert "In the database" in page
    assert admin_client.get(reverse("admin:taskq_django_job", args=[mail.id])).status_code == 200
    assert not LogEntry.objects.exists()


def test_what_workers_hold_is_counted(broker: Broker, admin_client: Client) -> None:
    from tests.support.messages import register

    register("host/me")
    tasks.add.enqueue(1)
    broker.claim(["default"], 1, "host/me")

    assert queues(shown(admin_client)) == [["default", "0", "1", "–"]]


def test_arguments_are_masked_and_nothing_is_html(
    broker: Broker, redis_server: Redis, settings: Settings, admin_client: Client
) -> None:
    prefix = f"taskq:{{{settings.TASKS['default']['OPTIONS']['name']}}}:"
    broker.send(
        [
            job(task_path=f"shop.{EVIL}", payload='[[],{"password":"hunter2","text":"' + EVIL + '"}]'),
            job(task_path="tests.app.tasks.add", payload='[["' + EVIL + '"],{"api_key":"hunter2"}]'),
            job(queue_name="q", headers="{" * 5000),
        ]
    )
    with redis_server.client() as client:  # by another hand
        client.hset(f"{prefix}jobs", mapping={"x": "garbage", EVIL: f"1700000000.5 {EVIL}", str(uuid4()): b"nan {}"})
        client.lpush(f"{prefix}q:{EVIL}:0", "x", EVIL)
        client.zadd(f"{prefix}ranks:{EVIL}", {"0": 0})
        client.sadd(f"{prefix}queues", EVIL, b"\x00\xff")

    page = shown(admin_client)

    assert EVIL not in page
    assert "hunter2" not in page
    assert "&lt;script&gt;" in page
    assert {name: count for name, count, *_ in queues(page)} == {"default": "2", EVIL: "2", "q": "1", "\x00\ufffd": "0"}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ({"queue": "mail"}, ["mail"]),
        ({"q": "tests.app.tasks.gree"}, ["greeting"]),
        ({"task": "tests.app.tasks.add"}, ["add", "mail"]),
        ({"status": "READY"}, ["add", "greeting", "mail"]),
        ({"status": "RUNNING"}, []),
        ({"p": "2"}, []),
        ({"q": "mai"}, ["mail"]),
        ({"q": "nothing"}, []),
    ],
)
def test_filters_and_search_apply(
    broker: Broker, admin_client: Client, address: dict[str, str], expected: list[str]
) -> None:
    sent = {
        "add": tasks.add.enqueue(1).id,
        "greeting": job(task_path="tests.app.tasks.greeting"),
        "mail": tasks.add.using(queue_name="mail").enqueue(2).id,
    }
    broker.send([sent["greeting"]])
    sent["greeting"] = sent["greeting"].id

    assert sorted(ids(shown(admin_client, **address))) == sorted(sent[name] for name in expected)


def test_a_job_is_found_by_its_id_however_many_wait(broker: Broker, admin_client: Client) -> None:
    tasks.add.enqueue_many([(each,) for each in range(100)])
    last = tasks.add.enqueue(100)

    assert last.id not in ids(shown(admin_client))
    assert ids(shown(admin_client, q=last.id.upper())) == [last.id]
    assert ids(shown(admin_client, q=str(uuid4()))) == []


def test_a_page_is_fast_with_a_hundred_thousand_messages(
    broker: Broker, redis_server: Redis, admin_client: Client
) -> None:
    broker.send([job() for _ in range(100_000)])
    shown(admin_client)

    pages: list[str] = []
    assert takes_at_most(0.5, lambda: pages.append(shown(admin_client)), clock=redis_server.cpu_seconds)

    page = pages[-1]
    assert queues(page)[0][:2] == ["default", "100000"]
    assert len(ids(page)) == 10


def test_many_queues_are_cut(broker: Broker, admin_client: Client) -> None:
    broker.send([job(queue_name=f"q{number}") for number in range(60)])

    page = shown(admin_client)

    assert len(queues(page)) == 50
    assert "10 more queues are not shown." in page
    assert len(ids(page)) == 30


def test_without_an_engine_the_page_is_as_it_was(admin_client: Client) -> None:
    tasks.add.enqueue(1)
    page = shown(admin_client)
    assert "taskq-engine" not in page
    assert "In the database" not in page


@pytest.mark.parametrize("how", ["frozen", "down", "password", "all frozen"])
def test_an_engine_that_does_not_answer_is_a_line_and_the_page_comes(
    redis_server: Redis, settings: Settings, admin_client: Client, how: str
) -> None:
    other = redis_server.url.replace("/0", "/1")
    url = redis_server.url.replace("//", "//nobody:geheim@") if how == "password" else redis_server.url
    settings.TASKS = backends(url, *([other] * 2 if how == "all frozen" else []))
    task_backends["plain"].broker.send([job(backend="plain")])  # type: ignore[attr-defined]
    if "frozen" in how:
        redis_server.freeze()
    elif how == "down":
        redis_server.kill()
    pages: list[str] = []
    try:
        for _ in range(2):
            assert takes_at_most(3.5, lambda: pages.append(shown(admin_client)))
    finally:
        redis_server.thaw() if "frozen" in how else redis_server.start()

    page = pages[0]
    problems = re.findall(r'<p class="taskq-problem">(.*?)</p>', page)
    assert "Redis at 127.0.0.1:" in problems[0]
    assert ("refuses the user or the password" if how == "password" else "cannot be reached") in problems[0]
    assert "geheim" not in page
    assert "tests.app.tasks.add" in page, "the rows are there all the same"


def test_the_time_that_a_broker_takes_to_load_is_not_its_engines(
    broker: Broker, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.add.enqueue(1)
    now, brokers = [0.0], outside._brokers

    def slow() -> Iterator[Broker]:
        for each in brokers():
            now[0] += 60
            yield each

    monkeypatch.setattr(outside, "monotonic", lambda: now[0])
    monkeypatch.setattr(outside, "_brokers", slow)
    assert len(ids(shown(admin_client))) == 1


def test_whoever_may_not_view_queued_jobs_sees_nothing(broker: Broker, client: Client) -> None:
    tasks.add.enqueue(1)
    user = User.objects.create_user("bob", is_staff=True)
    client.force_login(user)
    assert client.get(reverse(QUEUED)).status_code == 403

    user.user_permissions.add(Permission.objects.get(codename="view_queuedjob"))
    assert len(ids(shown(client))) == 1


def test_an_engine_that_shows_nothing_says_so(
    broker: Broker, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.outside, "shows_waiting", False)
    assert "does not tell what waits there" in shown(admin_client)
