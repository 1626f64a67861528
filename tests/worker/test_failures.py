"""An exception becomes text that can be stored, whatever it does to resist; and one bad outcome harms no other."""

from __future__ import annotations

from typing import Any

import pytest

from taskq_django import Discard, signals
from taskq_django.models import JobResult, QueuedJob
from taskq_django.testing import run_all
from taskq_django.worker.failures import failure_of
from tests.app import tasks


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Picky(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__("picky")


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def nested_group(depth: int) -> BaseException:
    error: Exception = ValueError("core")
    for _ in range(depth):
        error = ExceptionGroup("group", [error])
    return error


def circular() -> BaseException:
    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__ = b, a
    return a


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Mute(), "(message unavailable)"),
        (Picky(1, 2), "picky"),
        (ValueError("x" * 50_000_000), "characters left out"),
        (ValueError("a\0b\ud800"), "a\\x00b\\ud800"),
        (nested_group(2000), "group"),
        (circular(), "a"),
        (SystemExit(3), "3"),
    ],
    ids=["mute", "picky", "50 MB", "unstorable", "deep group", "circular", "exit"],
)
def test_any_exception_becomes_text_that_can_be_stored(error: BaseException, message: str) -> None:
    failure = failure_of(raised(error))
    assert message in failure.message
    assert failure.exception_class.endswith(type(error).__qualname__)
    for text in (failure.message, failure.traceback):
        assert 0 < len(text) <= 64_000
        assert "\0" not in text
        text.encode()


@pytest.mark.django_db
def test_a_reason_that_cannot_be_stored_is_made_storable() -> None:
    def veto(**named: Any) -> None:
        raise Discard("a\0b\ud800" + "x" * 1_000_000)

    result = tasks.add.enqueue(1)
    signals.before_run.connect(veto, weak=False)
    try:
        run_all()
    finally:
        signals.before_run.disconnect(veto)
    result.refresh()
    assert result.reason.startswith("a\\x00b\\ud800x")
    assert len(result.reason) < 3000


@pytest.mark.django_db
def test_a_receiver_may_use_the_orm_around_a_coroutine() -> None:
    seen: list[int] = []

    def count(**named: Any) -> None:
        seen.append(QueuedJob.objects.count())

    for signal in (signals.before_run, signals.after_run, signals.run_failed):
        signal.connect(count, weak=False)
    try:
        tasks.aadd.enqueue(1)
        tasks.aexplode.enqueue()
        assert run_all() == 2
    finally:
        for signal in (signals.before_run, signals.after_run, signals.run_failed):
            signal.disconnect(count)
    assert len(seen) == 5
    assert set(JobResult.objects.values_list("status", flat=True)) == {"SUCCESSFUL", "FAILED"}


@pytest.mark.django_db
def test_a_coroutine_that_is_tried_again_knows_its_earlier_attempts() -> None:
    result = tasks.asecond.enqueue()
    run_all()
    assert result.get() == ["ConnectionError"]


@pytest.mark.django_db
def test_a_receiver_may_be_async() -> None:
    seen: list[str] = []

    async def note(**named: Any) -> None:
        seen.append(type(named["outcome"]).__name__)

    signals.after_run.connect(note, weak=False)
    try:
        tasks.add.enqueue(1)
        tasks.aadd.enqueue(1)
        assert run_all() == 2
    finally:
        signals.after_run.disconnect(note)
    assert seen == ["Succeeded", "Succeeded"]


@pytest.mark.django_db
def test_a_retry_with_a_delay_that_is_no_number_fails_with_that_message() -> None:
    odd, after = tasks.odd_retry.enqueue(), tasks.add.enqueue(1)
    run_all()
    odd.refresh()
    assert odd.status == "FAILED"
    assert "a delay is a number of seconds or a timedelta, not 'soon'" in odd.errors[0].traceback
    assert after.get() == 3


@pytest.mark.django_db
@pytest.mark.parametrize("odd", ["soon", float("nan"), object()])
def test_a_backoff_that_returns_no_number_is_replaced_by_the_default(odd: object, monkeypatch: Any) -> None:
    monkeypatch.setattr(tasks, "oddity", odd)
    result = tasks.odd_backoff.enqueue()
    run_all()
    result.refresh()
    assert (result.state, len(result.errors)) == ("SCHEDULED", 1)


@pytest.mark.django_db
def test_an_endless_backoff_is_cut_to_ten_years(monkeypatch: Any) -> None:
    monkeypatch.setattr(tasks, "oddity", float("inf"))
    result = tasks.odd_backoff.enqueue()
    run_all()
    result.refresh()
    assert result.state == "SCHEDULED"
