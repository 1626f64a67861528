"""Who may count whom as lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from taskq_django.models import WorkerProcess
from taskq_django.worker import lease as lease_module
from taskq_django.worker.lease import Lease

pytestmark = pytest.mark.django_db(transaction=True)

EVERY, LASTS = 1.0, 3.0
STEPS = [sign * seconds for seconds in (1, 60, 3600, 86_400) for sign in (1, -1)]


class Clock:
    """Of the process; it goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Other:
    """Another worker with one process; what its row says is by a clock that is put forward or back by ``step``."""

    def __init__(self) -> None:
        self.step = 0.0
        common: dict[str, Any] = {"name": "other", "host": "there", "pid": 1}
        for id_, supervisor in (("other", None), ("other/1", "other")):
            moment = self.moment()
            WorkerProcess.objects.create(id=id_, supervisor_id=supervisor, started_at=moment, seen_at=moment, **common)

    def moment(self) -> Any:
        return timezone.now() + timedelta(seconds=self.step)

    def renew(self) -> None:
        WorkerProcess.objects.filter(id="other").update(seen_at=self.moment())

    @property
    def rows(self) -> int:
        return WorkerProcess.objects.filter(name="other").count()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease_module, "monotonic", clock)
    return clock


@pytest.fixture
def other(transactional_db: None) -> Other:
    return Other()


@pytest.fixture
def lease(clock: Clock, other: Other) -> Lease:
    """Of a worker that has just begun to look."""
    lease = Lease("me", "default", every=EVERY, lasts=LASTS, described={"backends": "default"})
    lease.register("me/1")
    lease.bury()
    return lease


def pass_time(lease: Lease, clock: Clock, seconds: float = LASTS, each: Callable[[], None] = lambda: None) -> None:
    """The worker gives signs of life meanwhile, and looks for those of others."""
    for _ in range(round(seconds / EVERY)):
        clock.now += EVERY
        assert lease.renew(0)
        each()
        lease.bury()


def test_a_silent_worker_is_counted_as_lost_with_its_processes(lease: Lease, clock: Clock, other: Other) -> None:
    pass_time(lease, clock, LASTS - EVERY)
    assert other.rows == 2
    pass_time(lease, clock, EVERY)
    assert other.rows == 0


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_the_clock_accuses_nobody_who_lives(lease: Lease, clock: Clock, other: Other, step: float) -> None:
    pass_time(lease, clock, LASTS, other.renew)
    other.step = step
    pass_time(lease, clock, 3 * LASTS, other.renew)
    assert other.rows == 2


@pytest.mark.parametrize("step", STEPS)
def test_who_writes_seldom_is_not_accused_between_a_step_and_its_next_sign_of_life(
    lease: Lease, clock: Clock, other: Other, step: float
) -> None:
    """What it wrote before the step is read for a while after it."""
    other.step = -step  # the clock that everybody else has by now is so far from it
    other.renew()
    for _ in range(5):
        pass_time(lease, clock, LASTS - EVERY)
        assert other.rows == 2
        other.renew()
        lease.bury()


@pytest.mark.parametrize("step", STEPS)
def test_who_died_before_a_step_is_counted_as_lost_a_lease_after_it_at_most(
    lease: Lease, clock: Clock, other: Other, step: float
) -> None:
    other.step = step  # a sign of life of long ago, or of days to come
    other.renew()
    lease.bury()
    pass_time(lease, clock, LASTS)
    assert other.rows == 0


def test_a_worker_whose_own_row_is_written_by_a_wrong_clock_does_not_bury_itself(lease: Lease, clock: Clock) -> None:
    for _ in range(5):
        clock.now += EVERY
        assert lease.renew(0)
        WorkerProcess.objects.filter(id=lease.worker_id).update(seen_at=timezone.now() - timedelta(days=1))
        lease.bury()
    assert WorkerProcess.objects.filter(id=lease.worker_id).exists()


def test_who_is_lost_asks_no_more_until_it_has_a_new_id(lease: Lease, django_assert_num_queries: Any) -> None:
    WorkerProcess.objects.filter(id=lease.worker_id).delete()
    lease.enrol({"me/1/process": 1})  # renews at once
    with django_assert_num_queries(0):
        assert not lease.renew(0)
        assert not lease.renew(0)
    lease.register("me/2")
    assert lease.renew(0)
    assert WorkerProcess.objects.filter(id="me/2").exists()


def test_the_next_burial_is_known_before(lease: Lease, clock: Clock, other: Other) -> None:
    assert lease.burial_in() == pytest.approx(LASTS)
    pass_time(lease, clock, EVERY)
    assert lease.burial_in() == pytest.approx(LASTS - EVERY)
    pass_time(lease, clock, LASTS - EVERY)
    assert lease.burial_in() == float("inf"), "nobody is left who could be lost"


def test_who_has_not_been_steady_for_a_lease_counts_nobody_as_lost(lease: Lease, clock: Clock, other: Other) -> None:
    clock.now += 2 * LASTS  # in which it was stopped, or the store away
    assert lease.renew(0)
    lease.bury()
    assert other.rows == 2
    pass_time(lease, clock, LASTS)
    assert other.rows == 0


def test_who_could_not_renew_for_a_lease_counts_nobody_as_lost(lease: Lease, clock: Clock, other: Other) -> None:
    pass_time(lease, clock, LASTS - EVERY)
    clock.now += 2 * LASTS
    lease.bury()
    assert other.rows == 2


def test_a_store_that_was_mute_before_a_renewal_and_in_it_counts_nobody_as_lost(
    lease: Lease, clock: Clock, other: Other
) -> None:
    """Neither part was long; together they were, and nobody else could give a sign of life meanwhile."""
    pass_time(lease, clock, LASTS, other.renew)
    clock.now += 0.55 * LASTS

    def stall(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith("UPDATE"):
            clock.now += 0.55 * LASTS
        return execute(sql, params, many, context)

    with connection.execute_wrapper(stall):
        assert lease.renew(0)
    lease.bury()
    assert other.rows == 2
    pass_time(lease, clock, LASTS)
    assert other.rows == 0


def test_an_answer_that_took_a_lease_counts_nobody_as_lost(lease: Lease, clock: Clock, other: Other) -> None:
    """A server that stalled as it was asked has taken no sign of life of anybody meanwhile."""
    pass_time(lease, clock, LASTS - EVERY)
    clock.now += EVERY
    assert lease.renew(0)

    def stall(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().startswith("SELECT"):
            clock.now += 2 * LASTS
        return execute(sql, params, many, context)

    with connection.execute_wrapper(stall):
        lease.bury()
    assert other.rows == 2


def test_a_sign_of_life_during_a_burial_ends_it(
    lease: Lease, clock: Clock, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = lease._remove

    def just_before(id_: str) -> None:
        other.renew()
        remove(id_)

    monkeypatch.setattr(lease, "_remove", just_before)
    pass_time(lease, clock, LASTS)
    assert other.rows == 2


@pytest.fixture
def elsewhere() -> Iterator[Any]:
    """Another session in the same database."""
    if connection.vendor == "sqlite":
        pytest.skip("there a session locks the whole file")
    session = connections.create_connection("default")
    session.settings_dict = connections["default"].settings_dict
    yield session
    session.close()


@pytest.mark.parametrize("locked", ["other", "other/1"])
@pytest.mark.parametrize("others", [0, 2000])  # with many, a server may find rows by two indexes at once
def test_a_row_that_is_locked_holds_nobody_up_and_is_removed_later(
    lease: Lease, clock: Clock, other: Other, elsewhere: Any, locked: str, others: int
) -> None:
    table, now = WorkerProcess._meta.db_table, other.moment()
    mine: dict[str, Any] = {"supervisor_id": "me/1", "host": "here", "pid": 1, "started_at": now, "seen_at": now}
    WorkerProcess.objects.bulk_create(WorkerProcess(id=f"me/{n}", **mine) for n in range(2, others))
    if others:
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{table}")
    elsewhere.set_autocommit(False)
    with elsewhere.cursor() as cursor:
        cursor.execute(f"SELECT id FROM {table} WHERE id = %s FOR UPDATE", [locked])
    pass_time(lease, clock, LASTS)
    left = set(WorkerProcess.objects.filter(name="other").values_list("id", flat=True))
    assert left == {"other", locked}, "its own row stays as long as one of its processes does"
    elsewhere.rollback()
    pass_time(lease, clock, EVERY)
    assert other.rows == 0
    assert not transaction.get_connection().in_atomic_block


def test_a_process_that_has_died_accuses_its_worker_of_nothing(clock: Clock) -> None:
    lease = Lease("me", "default", every=EVERY, lasts=LASTS, described={})
    lease.register("me/1")
    lease.enrol({"me/1/a": 1, "me/1/b": 2})
    mine = WorkerProcess.objects.filter(supervisor="me/1")

    lease.disown("me/1/a")
    clock.now += EVERY
    assert lease.renew(0)
    assert mine.count() == 2, "it stays until its jobs are rescued"
    mine.filter(id="me/1/a").delete()  # who rescues its jobs has removed it
    for _ in range(3):
        clock.now += EVERY
        assert lease.renew(0)
    mine.filter(id="me/1/b").delete()  # a process that lives
    clock.now += EVERY
    assert not lease.renew(0)


def test_a_worker_that_ends_leaves_no_row_of_a_process_that_nobody_has_rescued(clock: Clock) -> None:
    lease = Lease("me", "default", every=EVERY, lasts=LASTS, described={})
    lease.register("me/1")
    lease.enrol({"me/1/a": 1, "me/1/b": 2})
    lease.disown("me/1/a")
    lease.leave()
    assert not WorkerProcess.objects.exists()


def test_the_rows_of_the_rescued_are_removed(clock: Clock) -> None:
    lease = Lease("me", "default", every=EVERY, lasts=LASTS, described={})
    lease.register("me/1")
    lease.enrol({"me/1/a": 1})
    lease.disown("me/1/a")
    lease.forget(["me/1/a"])
    assert list(WorkerProcess.objects.values_list("id", flat=True)) == ["me/1"]
