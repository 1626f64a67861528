"""Where schedules wait for a beat and none is alive, each page that shows them says so."""

from __future__ import annotations

import json
import re
from html import unescape
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from taskq_django.beat.service import Watch
from taskq_django.conf import Beat
from taskq_django.models import StoreIdentity
from taskq_django.models.moments import DatabaseNow
from taskq_django.store.beat_sign import read_sign
from tests.app import tasks  # noqa: F401 - registered by that
from tests.support.schedule_pages import add, change, schedule, texts, url

pytestmark = pytest.mark.django_db(databases=["default", "other"])

NONE = "No beat is alive, so nothing fires the 1 schedule that is enabled. python manage.py taskq_worker -B"


def seen(seconds: float | None, database: str = "default") -> None:
    StoreIdentity.objects.using(database).update(beat_seen_at=None if seconds is None else DatabaseNow(-seconds))


def banners(client: Client, address: str) -> list[str]:
    page = client.get(address).content.decode()
    found = re.findall(r'<p class="taskq-banner[^>]*>(.*?)</p>', page, re.DOTALL)
    told = [" ".join(unescape(re.sub("<[^>]*>", "", text)).split()) for text in found]
    return [text for text in told if "beat" in text]


def status(*flags: str) -> str:
    out = StringIO()
    call_command("taskq_status", *flags, stdout=out)
    return out.getvalue()


def test_each_page_of_schedules_and_the_dashboard_say_that_no_beat_is_alive(admin_client: Client) -> None:
    row = schedule()
    dashboard = reverse("admin:taskq_django_dashboard_changelist")
    pages = [url("changelist"), url("change", row), dashboard]
    for address in pages:
        (text,) = banners(admin_client, address)
        assert text in {NONE, f"default: {NONE}"}

    seen(100_000)
    for address in pages:
        assert "The last one was seen 1 d 3 h ago." in banners(admin_client, address)[0]

    seen(5)
    for address in pages:
        assert banners(admin_client, address) == []


def test_where_nothing_waits_for_a_beat_none_is_missed(admin_client: Client) -> None:
    row = schedule(enabled=False)
    assert banners(admin_client, url("changelist")) == banners(admin_client, url("change", row)) == []
    assert banners(admin_client, url("add")) == []
    assert "BEAT" not in status()


def test_who_saves_a_schedule_is_told_that_no_beat_is_alive(admin_client: Client) -> None:
    told = "“nightly” runs when a beat is there: none is alive."
    add(admin_client)
    assert told in texts(admin_client.get(url("changelist")))
    row = schedule(name="second")
    seen(5)
    change(admin_client, row, note="x")
    assert not any("beat" in text for text in texts(admin_client.get(url("changelist"))))
    seen(None)
    change(admin_client, row, enabled=None)
    assert not any("beat" in text for text in texts(admin_client.get(url("changelist"))))


def test_taskq_status_tells_of_the_beats_of_each_database() -> None:
    schedule()
    assert "default: 1 schedule to fire, no beat yet  NO BEAT IS ALIVE: start one with" in status()
    seen(0)
    out = status()
    assert "default: 1 schedule to fire, beat seen " in out
    assert "NO BEAT" not in out
    beats = {beat["database"]: beat for beat in json.loads(status("--json"))["beats"]}
    assert beats["default"] == {"database": "default", "schedules": 1, "seen": beats["default"]["seen"], "alive": True}


def test_a_beat_that_looks_gives_a_sign_of_life() -> None:
    assert not read_sign("other").alive
    Watch("other", Beat()).turn(lambda: False)
    assert read_sign("other").alive
    assert not read_sign("default").alive


def test_a_beat_that_is_run_by_cron_counts_as_long_as_it_makes_no_run_a_missed_one(settings: Any) -> None:
    call_command("taskq_beat", "--once", verbosity=0)
    assert read_sign("default").alive
    seen(500)
    assert not read_sign("default").alive
    settings.TASKQ = {"BEAT": {"MISSED_AFTER": 600}}
    assert read_sign("default").alive


def test_a_clock_that_was_put_back_makes_no_beat_missing() -> None:
    schedule()
    seen(-3600)
    assert read_sign("default").alive


def test_the_sign_is_read_by_one_query(django_assert_num_queries: Any) -> None:
    schedule()
    with django_assert_num_queries(1):
        assert read_sign("default").is_missing
