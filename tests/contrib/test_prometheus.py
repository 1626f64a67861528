"""What Prometheus is told, read by its own parser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.apps import AppConfig

pytest.importorskip("prometheus_client")
from prometheus_client.parser import text_string_to_metric_families

from taskq_django.contrib.prometheus.page import Metrics
from taskq_django.store.counts import BUCKETS, Kind, Tally, bucket_of
from taskq_django.worker import probes, tally_sharing
from taskq_django.worker.tally_sharing import SHARED, Sharer


def tally(seconds: float, count: int = 1, **ends: int) -> Tally:
    counts = [0] * BUCKETS
    counts[bucket_of(seconds)] = count
    told = [ends.get(name, 0) for name in ("succeeded", "failed", "retried", "dropped")]
    return Tally(told, list(counts), list(counts), seconds * count, seconds * count)


def read(page: Metrics) -> dict[tuple[str, ...], float]:
    """By the name of the sample and its labels' values."""
    families = text_string_to_metric_families(page.text().decode())
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def page() -> Any:
    made = Metrics()
    made.open()
    yield made
    made.close()


KIND = Kind("default", "mail", "shop.tasks.bill")


def test_nothing_is_told_before_something_has_ended(page: Metrics) -> None:
    assert read(page) == {}


def test_runs_are_told_by_what_came_of_them(page: Metrics) -> None:
    Sharer(os.environ[SHARED]).turn([(KIND, tally(0.25, 5, succeeded=3, retried=2))])
    found = read(page)
    assert found["taskq_runs_total", "default", "succeeded", "mail", "shop.tasks.bill"] == 3
    assert found["taskq_runs_total", "default", "retried", "mail", "shop.tasks.bill"] == 2
    assert not any("failed" in key for key in found)


def test_times_are_told_as_a_histogram(page: Metrics) -> None:
    Sharer(os.environ[SHARED]).turn([(KIND, tally(0.3, 4, succeeded=4))])
    found = read(page)
    labels = ("mail", "shop.tasks.bill")
    for name in ("taskq_run_seconds", "taskq_wait_seconds"):
        assert found[f"{name}_count", "default", *labels] == 4
        assert found[f"{name}_sum", "default", *labels] == pytest.approx(1.2)
        assert found[f"{name}_bucket", "default", "0.125", *labels] == 0
        assert found[f"{name}_bucket", "default", "0.5", *labels] == 4
        assert found[f"{name}_bucket", "default", "+Inf", *labels] == 4


def test_what_is_counted_from_nought_again_is_not_forgotten(page: Metrics) -> None:
    sharer = Sharer(os.environ[SHARED])
    for _ in range(3):
        sharer.turn([(KIND, tally(0.1, succeeded=1))], at_once=True)
        sharer.add([(KIND, tally(0.1, succeeded=1))])
    sharer.turn([], at_once=True)
    assert read(page)["taskq_runs_total", "default", "succeeded", "mail", "shop.tasks.bill"] == 3


def test_a_process_writes_no_more_often_than_once_a_second(page: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(tally_sharing, "monotonic", lambda: now)
    sharer = Sharer(os.environ[SHARED])
    sharer.turn([(KIND, tally(0.1, succeeded=1))])
    sharer.turn([(KIND, tally(0.1, succeeded=7))])
    assert read(page)["taskq_runs_total", "default", "succeeded", "mail", "shop.tasks.bill"] == 1
    now += 1.0
    sharer.turn([(KIND, tally(0.1, succeeded=7))])
    assert read(page)["taskq_runs_total", "default", "succeeded", "mail", "shop.tasks.bill"] == 7


def test_what_processes_have_counted_that_are_gone_is_told_on(page: Metrics) -> None:
    folder = Path(os.environ[SHARED])
    Sharer(str(folder)).turn([(KIND, tally(0.1, succeeded=1))])
    [mine] = folder.iterdir()
    for _ in range(3):
        ended = subprocess.Popen([sys.executable, "-c", "pass"])
        ended.wait()
        shutil.copy(mine, folder / f"{ended.pid}-x")
        read(page)
    assert list(folder.iterdir()) == [mine]
    for _ in range(2):
        assert read(page)["taskq_runs_total", "default", "succeeded", "mail", "shop.tasks.bill"] == 4


@pytest.mark.parametrize(
    "text", [b"", b"[", b"5", b"[5]", b'[["a","b"]]', b'[["a","b","c",[1],[],[],0,0]]', b'{"a":1}', b"\xff"]
)
def test_a_file_that_cannot_be_read_is_left_out(page: Metrics, text: bytes) -> None:
    Sharer(os.environ[SHARED]).turn([(KIND, tally(0.1, succeeded=1))])
    (Path(os.environ[SHARED]) / str(os.getppid())).write_bytes(text)
    (Path(os.environ[SHARED]) / "notes.txt").write_bytes(text)
    assert read(page)["taskq_runs_total", "default", "succeeded", "mail", "shop.tasks.bill"] == 1


def test_a_process_that_counts_anew_takes_nothing_away(page: Metrics) -> None:
    for _ in range(2):
        Sharer(os.environ[SHARED]).turn([(KIND, tally(0.1, succeeded=1))])
    assert read(page)["taskq_runs_total", "default", "succeeded", "mail", "shop.tasks.bill"] == 2


def test_what_a_process_starts_does_not_inherit_where_it_tells(page: Metrics) -> None:
    folder = os.environ[SHARED]
    assert tally_sharing.shared_folder() == folder
    assert SHARED not in os.environ
    assert tally_sharing.shared_folder() == folder
    page.close()
    assert tally_sharing.shared_folder() is None


def test_names_are_escaped(page: Metrics) -> None:
    name = 'a"b\\c\nd'
    Sharer(os.environ[SHARED]).turn([(Kind("default", name, name), tally(0.1, succeeded=1))])
    assert read(page)["taskq_runs_total", "default", "succeeded", name, name] == 1


def test_a_folder_that_is_gone_ends_nothing_and_is_told_once(page: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    sharer = Sharer(os.environ[SHARED])
    Path(os.environ[SHARED]).rmdir()
    for _ in range(2):
        sharer.turn([(KIND, tally(0.1, succeeded=1))], at_once=True)
    assert caplog.text.count("cannot be told") == 1


def test_without_the_extra_the_app_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core.exceptions import ImproperlyConfigured

    from taskq_django.contrib.prometheus import apps

    monkeypatch.setattr(apps, "find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r"taskq-django\[prometheus\]"):
        AppConfig.create("taskq_django.contrib.prometheus").ready()
    assert probes.PAGES == {}
