"""What keeps a job of a message broker in one place, and moving, when one of the two stores fails between two steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, transaction

from taskq_django import control
from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.brokers.messages import wishes
from taskq_django.brokers.messages.broker import MessageBroker
from taskq_django.exceptions import BrokerUnavailable, OutcomeRefused
from taskq_django.jobs import Claim, Discarded, Job, Outcome, Released, new_id
from taskq_django.models import CancelWish, JobResult, QueuedJob, WorkerProcess
from taskq_django.models.moments import DatabaseNow
from taskq_django.states import State
from taskq_django.store import pruning
from taskq_django.store.dialects.messages.base import Messages
from taskq_django.worker.finisher import settle
from taskq_django.worker.maintenance import GONE
from taskq_django.worker.rescue import Death, rescue, settle_dead
from tests.support.faulty_engine import FaultyTransport, message_broker, without_pauses
from tests.support.messages import register, retry, success
from tests.support.sending import job

pytestmark = pytest.mark.django_db(transaction=True)

ME, OTHER, HEIR = "host/me", "host/other", "host/heir"


@pytest.fixture(autouse=True)
def members(monkeypatch: pytest.MonkeyPatch) -> None:
    without_pauses(monkeypatch)
    for id_ in (ME, OTHER, HEIR):
        register(id_)


@pytest.fixture
def engine() -> FaultyTransport:
    engine = FaultyTransport()
    for id_ in (ME, OTHER):
        engine.join(id_)
    return engine


@pytest.fixture
def mine(engine: FaultyTransport) -> MessageBroker:
    return message_broker(engine, has_outbox=True)


@pytest.fixture
def others(engine: FaultyTransport) -> MessageBroker:
    return message_broker(engine, has_outbox=True)


def fails(*args: Any, **more: Any) -> None:
    raise OperationalError("the server has gone")


def lose(worker_id: str) -> None:
    WorkerProcess.objects.filter(id=worker_id).delete()


def sent(broker: MessageBroker, count: int = 1, **changes: Any) -> list[Job]:
    jobs = [job(**changes) for _ in range(count)]
    broker.send(jobs)
    return jobs


# --- the engine does not answer the loop ----------------------------------------------------------------------------


def test_messages_whose_claim_was_not_answered_are_found_again_though_nothing_else_waits(
    engine: FaultyTransport, mine: MessageBroker
) -> None:
    (waiting,) = sent(mine)
    engine.faults["claim"] = "after"
    assert mine.claim(["default"], 10, ME) == []
    assert engine.where() == {waiting.id: ME}

    assert mine.ready_queues() == ["default"]
    (claim,) = mine.claim(["default"], 10, ME)
    assert claim.job.id == waiting.id


def test_an_end_that_the_engine_did_not_hear_of_is_told_though_nothing_waits(
    engine: FaultyTransport, mine: MessageBroker
) -> None:
    sent(mine)
    outcome = success(*mine.claim(["default"], 10, ME))
    engine.faults["ack"] = "before"
    assert mine.settle([outcome], ME) == [outcome]

    mine.ready_queues()

    assert engine.where() == {}


def test_an_engine_that_was_away_from_the_start_answers_again_when_it_does(
    engine: FaultyTransport, mine: MessageBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "taskq_django.broker")

    for _ in range(3):
        engine.faults["queues"] = "before"
        mine.ready_queues()
    assert "answers again" not in caplog.text

    mine.ready_queues()
    assert caplog.text.count("answers again") == 1


def test_what_is_held_is_not_given_back_by_a_look_after_an_outage(engine: FaultyTransport, mine: MessageBroker) -> None:
    held, _ = sent(mine, 2)
    mine.claim(["default"], 1, ME)
    engine.faults["claim"] = "after"
    mine.claim(["default"], 1, ME)

    assert mine.ready_queues() == ["default"]

    assert engine.where().pop(held.id) == ME
    assert list(engine.where().values()).count("") == 1


def test_what_an_engine_has_forgotten_of_its_confirms_is_done_again_after_the_outage(
    engine: FaultyTransport, mine: MessageBroker
) -> None:
    ended, returned = sent(mine, 2)
    first, second = mine.claim(["default"], 2, ME)
    forgotten = engine.memory()
    mine.settle([success(first), Released(second, began=False)], ME)
    engine.remember(forgotten)

    engine.faults["queues"] = "before"
    mine.ready_queues()
    mine.ready_queues()

    assert engine.where() == {returned.id: ""}
    assert JobResult.objects.get().id.hex == ended.id.replace("-", "")


def test_who_sends_rows_and_messages_together_is_not_told_that_nothing_was_done(engine: FaultyTransport) -> None:
    row, message = job(delay_us=60_000_000), job()
    engine.faults["publish"] = "before"

    with pytest.raises(BrokerUnavailable) as raised:
        message_broker(engine).send([message, row])

    assert [str(each.id) for each in QueuedJob.objects.all()] == [row.id]
    assert not raised.value.known


def test_what_the_store_refuses_of_a_message_makes_no_row_a_lost_one(
    mine: MessageBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine.send([job(), job()])
    mine.send([job(), job()], in_store=True)
    outcomes = [success(claim) for _ in range(2) for claim in mine.claim(["default"], 2, ME)]
    refused = next(outcome for outcome in outcomes if outcome.claim.receipt.startswith("@"))
    record = DatabaseBroker.record

    def choosy(self: DatabaseBroker, group: Any, *args: Any, **more: Any) -> bool:
        if refused in group:
            raise OutcomeRefused("It takes no such value.")
        return record(self, group, *args, **more)

    monkeypatch.setattr(DatabaseBroker, "record", choosy)
    counted = settle(mine, outcomes, ME)

    assert {outcome.claim.job.id for outcome in counted} == {outcome.claim.job.id for outcome in outcomes}
    ends = {str(row.id): row.status for row in JobResult.objects.all()}
    assert ends.pop(refused.claim.job.id) == State.FAILED
    assert list(ends.values()) == [State.SUCCESSFUL] * 3


# --- turns ----------------------------------------------------------------------------------------------------------


def test_rows_and_messages_of_each_queue_take_turns_whatever_other_queues_do(mine: MessageBroker) -> None:
    for name in ("a", "b"):
        mine.send([job(queue_name=name) for _ in range(4)])
        mine.send([job(queue_name=name) for _ in range(4)], in_store=True)

    claimed: dict[str, list[bool]] = {"a": [], "b": []}
    for name in ("a", "b") * 4:
        claimed[name] += [claim.receipt.startswith("@") for claim in mine.claim([name], 1, ME)]

    assert all(len(places) == 4 and sum(places) == 2 for places in claimed.values()), claimed


def test_a_row_that_comes_after_the_look_waits_for_one_batch_of_messages_at_most(mine: MessageBroker) -> None:
    mine.send([job() for _ in range(4)])
    assert mine.ready_queues() == ["default"]
    mine.send([job()], in_store=True)

    batches = [[claim.receipt.startswith("@") for claim in mine.claim(["default"], 2, ME)] for _ in range(2)]

    assert batches == [[True, True], [False, True]]


# --- the outbox -----------------------------------------------------------------------------------------------------


def standing_in(mine: MessageBroker, engine: FaultyTransport) -> Job:
    """A job whose message is in the engine, and whose row is due, because the confirm was not heard."""
    engine.faults["publish"] = "after"
    with transaction.atomic():
        (each,) = sent(mine)
    QueuedJob.objects.update(status=State.READY)
    return each


def test_a_row_that_a_lost_host_held_is_asked_for_again(
    engine: FaultyTransport, mine: MessageBroker, others: MessageBroker
) -> None:
    each = standing_in(mine, engine)
    DatabaseBroker("default").claim(["default"], 1, OTHER)  # and its host is lost before it has asked
    lose(OTHER)
    ((_, held),) = others.orphans(HEIR).items()
    settle_dead(others, OTHER, held, GONE)
    row = QueuedJob.objects.get(id=each.id)
    assert (row.attempts, row.losses, row.sender is None) == (1, 1, False)

    claims = mine.claim(["default"], 10, ME)

    assert [claim.receipt for claim in claims] == [f"@{ME}"]
    assert not QueuedJob.objects.exists()


@pytest.mark.parametrize("came_of_it", [success, retry])
def test_a_row_whose_message_ended_between_its_claim_and_the_look_is_not_begun(
    engine: FaultyTransport,
    mine: MessageBroker,
    others: MessageBroker,
    monkeypatch: pytest.MonkeyPatch,
    came_of_it: Callable[[Claim], Outcome],
) -> None:
    standing_in(mine, engine)
    claims = engine.claim("default", 1, OTHER)
    claim_rows = DatabaseBroker.claim

    def then_settle(*args: Any) -> list[Claim]:
        found = claim_rows(*args)
        others.settle([came_of_it(claim) for claim in claims], OTHER)
        return found

    monkeypatch.setattr(DatabaseBroker, "claim", then_settle)
    assert mine.claim(["default"], 1, ME) == []


def test_a_message_that_became_a_row_before_its_publish_was_answered_stays_that_row(
    engine: FaultyTransport, mine: MessageBroker, others: MessageBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside a transaction, where the row comes after the publish."""
    jobs = [job(), job()]
    publish = engine.publish

    def run_at_once(*args: Any) -> None:
        publish(*args)
        others.settle([retry(claim) for claim in others.claim(["default"], 1, OTHER)], OTHER)
        raise BrokerUnavailable("No answer.")

    monkeypatch.setattr(engine, "publish", run_at_once)
    mine.send(jobs)

    rows = {str(row.id): row for row in QueuedJob.objects.all()}
    assert [(rows[each.id].attempts, rows[each.id].sender is None) for each in jobs] == [(1, True), (0, False)]


def test_of_a_bulk_only_what_was_not_confirmed_waits_in_the_store(
    engine: FaultyTransport, mine: MessageBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, parts = engine.publish, iter([True, False])

    def half(jobs: Any, within: float) -> Any:
        if next(parts):
            return publish(jobs, within)
        raise BrokerUnavailable("It is away.", known=True)

    monkeypatch.setattr(engine, "publish", half)
    sent(mine, 1001)

    assert len(engine.where()) == 1000
    assert QueuedJob.objects.get().status == State.READY


# --- whose process has died -----------------------------------------------------------------------------------------


def test_what_an_heir_held_that_has_died_goes_to_the_next_heir(
    engine: FaultyTransport, mine: MessageBroker, others: MessageBroker
) -> None:
    (each,) = sent(mine)
    mine.claim(["default"], 1, ME)
    lose(ME)
    assert list(others.orphans(OTHER)) == [ME]
    lose(OTHER)

    ((dead, held),) = message_broker(engine).orphans(HEIR).items()

    assert dead == OTHER
    assert [(claim.job.id, claim.receipt) for claim, _ in held] == [(each.id, f"@{HEIR}")]


def test_rows_of_a_dead_process_are_rescued_before_the_engine_is_asked(
    engine: FaultyTransport, mine: MessageBroker
) -> None:
    (message,) = sent(mine)
    mine.send([job()], in_store=True)
    begun = [claim.job.id for claim in mine.claim(["default"], 2, ME)]
    engine.faults["inherit"] = "before"

    assert rescue(mine, ME, Death(cause="signal SIGKILL", begun=begun), HEIR, in_store=True) == 1

    assert "inherit" in engine.faults
    assert QueuedJob.objects.get(status=State.READY).crashes == 1
    assert engine.where() == {message.id: ME}


def test_messages_of_a_dead_process_are_rescued_though_the_store_refuses_its_rows(
    engine: FaultyTransport, mine: MessageBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(mine)
    mine.send([job()], in_store=True)
    begun = [claim.job.id for claim in mine.claim(["default"], 2, ME)]
    monkeypatch.setattr(DatabaseBroker, "settle", lambda *args, **more: [])

    assert rescue(mine, ME, Death(cause="signal SIGKILL", begun=begun), HEIR) == 1

    assert engine.where() == {}
    assert QueuedJob.objects.get(status=State.READY).crashes == 1


@pytest.mark.parametrize(
    ("body", "state", "message"),
    [(b"garbage", State.FAILED, "no job of taskq_django"), (None, State.EXPIRED, "expired; its process has ended")],
    ids=["garbage", "expired"],
)
def test_what_ends_unrun_ends_so_although_its_process_is_lost(
    engine: FaultyTransport, mine: MessageBroker, others: MessageBroker, body: bytes | None, state: State, message: str
) -> None:
    engine.put(new_id(), body, "default") if body else sent(mine, expires_us=0)
    mine.claim(["default"], 1, ME)
    lose(ME)

    for dead, held in others.orphans(HEIR).items():
        settle_dead(others, dead, held, GONE)

    result = JobResult.objects.get()
    assert result.status == state
    assert message in result.message


def test_what_was_cancelled_before_it_began_and_is_retried_by_hand_is_no_message_any_more(
    engine: FaultyTransport, mine: MessageBroker, others: MessageBroker
) -> None:
    """Though its worker died before the engine heard of the end, and neither end nor retry counts an attempt."""
    (each,) = sent(mine)
    control.cancel([each.id], mine)
    (claim,) = mine.claim(["default"], 1, ME)
    engine.faults["ack"] = "before"
    mine.settle([Discarded(claim, 0.0, 0.0, State.CANCELLED, "", began=False)], ME)
    assert control.retry([each.id], others) == {each.id}
    lose(ME)

    assert list(others.orphans(HEIR)) == []

    assert engine.where() == {}
    (again,) = [claim for _ in range(2) for claim in others.claim(["default"], 10, OTHER)]
    assert (again.job.id, again.attempt) == (each.id, 1)


# --- wishes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1", None], ids=["", "no result is kept"])
@pytest.mark.parametrize("in_store", [False, True], ids=["message", "row"])
def test_an_end_and_its_wish_are_one_transaction(
    engine: FaultyTransport, monkeypatch: pytest.MonkeyPatch, in_store: bool, value: str | None
) -> None:
    broker, each = message_broker(engine), job()
    broker.send([each], in_store=in_store)
    (claim,) = broker.claim(["default"], 1, ME)
    monkeypatch.setattr(wishes, "LOOK_AGAIN", 0.0)
    CancelWish.objects.create(job_id=each.id, backend="default", asked_at=DatabaseNow())
    outcome = success(claim, value)

    with monkeypatch.context() as patched:
        patched.setattr(Messages, "forget_wishes", fails)
        with pytest.raises(BrokerUnavailable):
            broker.settle([outcome], ME)
    assert not JobResult.objects.exists()
    assert (engine.where(), QueuedJob.objects.count()) == ({} if in_store else {each.id: ME}, int(in_store))

    assert broker.settle([outcome], ME, {each.id}) == [outcome]
    assert not CancelWish.objects.exists()


def test_an_end_that_does_not_count_leaves_the_wish_to_who_has_the_job(
    mine: MessageBroker, others: MessageBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishes, "LOOK_AGAIN", 0.0)
    sent(mine)
    mine.send([job()], in_store=True)
    lost = mine.claim(["default"], 2, ME)
    for claim in lost:
        CancelWish.objects.create(job_id=claim.job.id, backend="default", asked_at=DatabaseNow())
    settle_dead(others, ME, others.orphans(HEIR, ME)[ME], Death(cause="", begun=()))

    assert mine.settle([success(claim) for claim in lost], ME) == []

    assert CancelWish.objects.count() == 2


def test_a_wish_outlives_no_job_that_left_no_trace(mine: MessageBroker) -> None:
    waiting, gone = sent(mine, 2)
    control.cancel([waiting.id, gone.id], mine)
    CancelWish.objects.filter(job_id=gone.id).update(asked_at=DatabaseNow(-3600 * 24 * 365))

    assert pruning.prune_batch("default") == 1

    assert str(CancelWish.objects.get().job_id) == waiting.id


# --- messages that the store must hold ------------------------------------------------------------------------------


def adopted(broker: MessageBroker) -> Released:
    """What comes of a message whose task must never begin twice: no store could note that it has begun."""
    (claim,) = broker.claim(["default"], 10, ME)
    assert not broker.note_begun(claim)
    return Released(claim, began=False)


def test_a_message_whose_task_must_run_once_is_run_from_the_store(engine: FaultyTransport, mine: MessageBroker) -> None:
    (waiting,) = sent(mine)
    given_back = adopted(mine)

    assert mine.settle([given_back], ME) == [given_back]

    assert engine.where() == {}
    (claim,) = mine.claim(["default"], 10, ME)
    assert (claim.job.id, claim.attempt) == (waiting.id, 1)
    assert mine.note_begun(claim)
    assert mine.settle([success(claim)], ME)
    assert JobResult.objects.get().status == State.SUCCESSFUL


def test_a_message_that_two_adopt_at_once_is_one_row(
    engine: FaultyTransport, mine: MessageBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (waiting,) = sent(mine)
    given_back, send = adopted(mine), DatabaseBroker.send

    def first_another(self: DatabaseBroker, jobs: Any, *args: Any, **more: Any) -> Any:
        monkeypatch.setattr(DatabaseBroker, "send", send)
        send(DatabaseBroker("default"), jobs)
        return send(self, jobs, *args, **more)

    monkeypatch.setattr(DatabaseBroker, "send", first_another)
    assert mine.settle([given_back], ME) == [given_back]
    assert [str(row.id) for row in QueuedJob.objects.all()] == [waiting.id]
    assert engine.where() == {}


def test_a_store_that_takes_no_message_in_is_away_and_loses_none(
    engine: FaultyTransport, mine: MessageBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (waiting,) = sent(mine)
    given_back, send = adopted(mine), DatabaseBroker.send

    monkeypatch.setattr(DatabaseBroker, "send", fails)
    with pytest.raises(BrokerUnavailable, match="the server has gone"):
        mine.settle([given_back], ME)
    assert engine.where() == {waiting.id: ME}

    monkeypatch.setattr(DatabaseBroker, "send", send)
    assert mine.settle([given_back], ME, {waiting.id}) == [given_back]
    assert QueuedJob.objects.count() == 1
