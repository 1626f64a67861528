"""The rules that keep a job of a message broker from being lost, or run again, in every interleaving of its steps.

The model is in tests/support/protocol. With TASKQ_TEST_LONG=1 more may go wrong in one walk, which then takes minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.brokers.database.outbox import Outbox
from taskq_django.brokers.messages.inheritance import Inheritance
from taskq_django.brokers.messages.transport import Transport
from taskq_django.models import QueuedJob, WorkerProcess
from taskq_django.worker.maintenance import GONE
from taskq_django.worker.rescue import settle_dead
from tests.support.faulty_engine import FaultyTransport, message_broker, without_pauses
from tests.support.messages import register, retry, success
from tests.support.protocol.states import RULES, Setting
from tests.support.protocol.walk import walk
from tests.support.sending import job

pytestmark = [pytest.mark.once, pytest.mark.thorough]

LONG = pytest.mark.skipif(not os.environ.get("TASKQ_TEST_LONG"), reason="TASKQ_TEST_LONG is not set")

TASKS = ("ok", "retry", "silent", "retry, silent")
OUTBOX, PLAIN, OUTSIDE = "renew", "publish", "keep"

# What may go wrong in one walk.
SETTINGS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a slow commit": {"slow_commit": True},
    "two lost answers": {"faults": 2},
    "a kill": {"kills": 1},
    "a kill and a slow commit": {"kills": 1, "slow_commit": True},
    "a kill and a lost answer": {"kills": 1, "faults": 1},
    "two lost hosts and a lost answer": {"kills": 2, "faults": 1, "lost_hosts": True},
    "a host that wakes, and a lost answer": {"kills": 1, "faults": 1, "freezes": True},
}
LONGER: dict[str, dict[str, Any]] = {
    "two kills": {"kills": 2, "slow_commit": True},
    "two kills and a lost answer": {"kills": 2, "faults": 1},
    "two kills and two lost answers": {"kills": 2, "faults": 2, "slow_commit": True},
    "two lost hosts and more": {"kills": 2, "faults": 2, "slow_commit": True, "lost_hosts": True},
    "two hosts that wake": {"kills": 2, "faults": 2, "slow_commit": True, "freezes": True},
}


def nothing_goes_wrong(task: str, producer: str, may: dict[str, Any]) -> None:
    found = walk(Setting(task=task, producer=producer, **may))

    assert not found.wrong, "\n".join(f"{what}: {'; '.join(way)}" for what, way in found.wrong.items())


@pytest.mark.parametrize("producer", [OUTBOX, PLAIN], ids=["outbox", "no outbox"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("may", SETTINGS.values(), ids=SETTINGS.keys())
def test_no_interleaving_loses_a_job_or_runs_it_again(may: dict[str, Any], task: str, producer: str) -> None:
    nothing_goes_wrong(task, producer, may)


@LONG
@pytest.mark.parametrize("producer", [OUTBOX, PLAIN], ids=["outbox", "no outbox"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("may", LONGER.values(), ids=LONGER.keys())
def test_nor_does_one_in_which_more_goes_wrong(may: dict[str, Any], task: str, producer: str) -> None:
    nothing_goes_wrong(task, producer, may)


@pytest.mark.parametrize(("task", "producer"), [(task, OUTSIDE) for task in ("ok", "retry", "cut")] + [("cut", OUTBOX)])
@pytest.mark.parametrize("may", ["two lost answers", "a kill and a lost answer", "two lost hosts and a lost answer"])
def test_nor_does_one_of_what_is_cut_off_or_sent_outside_of_a_transaction(may: str, task: str, producer: str) -> None:
    nothing_goes_wrong(task, producer, SETTINGS[may])


# The store does not know that a success without a result has ended, and has no failed attempt of it: so it runs again
# where the answer to what was written for it before was lost.
UNTOLD = [("cut, silent", OUTBOX), ("cut, silent", PLAIN), ("silent", OUTSIDE)]


@pytest.mark.parametrize("may", ["two lost answers", "a kill and a lost answer"])
@pytest.mark.parametrize(("task", "producer"), UNTOLD)
def test_what_leaves_nothing_in_the_store_may_run_again_and_is_never_lost(task: str, producer: str, may: str) -> None:
    assert set(walk(Setting(task=task, producer=producer, **SETTINGS[may])).wrong) == {AGAIN}


AGAIN, NEVER, LOST = "begun again after its end was committed", "never ends", "lost"
TWICE, OVERWRITTEN = "runs twice at once without a fault", "a result was overwritten by one of fewer attempts"
FAULT, SLOW, KILL = {"faults": 1}, {"slow_commit": True}, {"kills": 1}
BOTH = {"kills": 1, "faults": 1}
# By rule: what goes wrong without it, of which task, and what must happen for that.
NEEDED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "only what was renewed is published": (TWICE, "ok", SLOW),
    "a renewal leaves what runs": (TWICE, "ok", SLOW),
    "what is not surely its own is doubtful": (AGAIN, "ok", FAULT),
    "a loss is no attempt while the row stands in": (LOST, "ok", {"kills": 2, "faults": 1, "lost_hosts": True}),
    "the engine is asked before it begins": (AGAIN, "ok", FAULT),
    "without an answer it waits": (AGAIN, "ok", BOTH),
    "the store is asked after the engine": (AGAIN, "ok", FAULT),
    "an un-run return keeps the sender": (AGAIN, "ok", BOTH),
    "what comes of a message takes the row that stands in for it": (LOST, "retry", FAULT),
    "an end takes the row along": (AGAIN, "silent", FAULT),
    "the store before the engine": (LOST, "ok", SLOW),
    "who is not registered writes nothing": (AGAIN, "ok", {**BOTH, "freezes": True}),
    "the row of the dead is removed before the look": (AGAIN, "ok", KILL),
    "a look before what is inherited is settled": (AGAIN, "ok", KILL),
    "the look asks for failed attempts": (AGAIN, "retry, silent", BOTH),
    "a row with a sender says nothing": (LOST, "ok", BOTH),
    "who has not joined claims nothing": (NEVER, "ok", {"kills": 2, "freezes": True}),
    "an heir's heir has all": (NEVER, "ok", {"kills": 2}),
    "claims without an answer go back": (NEVER, "ok", FAULT),
    # The second lock of a door: without the first one, too.
    "of two results the one of more attempts stays": (OVERWRITTEN, "ok", BOTH),
}
FIRST_LOCK = {"of two results the one of more attempts stays": "the engine is asked before it begins"}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_needed(rule: str) -> None:
    what, task, may = NEEDED[rule]
    without = frozenset({rule, FIRST_LOCK.get(rule, rule)})

    assert what in walk(Setting(task=task, without=without, **may)).wrong


# --- the model is of this code ----------------------------------------------------------------------------------------

OWNERS: dict[str, type] = {
    "rows": DatabaseBroker,
    "outbox": Outbox,
    "transport": Transport,
    "inheritance": Inheritance,
}


def test_the_steps_are_methods_of_the_code() -> None:
    found = walk(Setting(kills=1, faults=2)).steps
    named = {step for step in found if step.split(".")[0] in OWNERS}

    assert len(named) > 20
    for step in named:
        owner, method = step.split(".")
        assert callable(getattr(OWNERS[owner], method, None)), step


ME, OTHER, HEIR = "host/me", "host/other", "host/heir"


@pytest.fixture
def steps(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the code has called, of what the model knows."""
    made: list[str] = []

    def noted(label: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            made.append(label)
            return method(*args, **more)

        return call

    without_pauses(monkeypatch)
    for owner, kind in {**OWNERS, "transport": FaultyTransport}.items():
        for step in walk(Setting(kills=1, faults=1)).steps:
            name = step.partition(".")[2]
            if step.startswith(f"{owner}.") and hasattr(kind, name):
                monkeypatch.setattr(kind, name, noted(step, getattr(kind, name)))
    for id_ in (ME, OTHER, HEIR):
        register(id_)
    return made


def in_order(wanted: list[str], made: list[str]) -> bool:
    left = iter(made)
    return all(step in left for step in wanted)


def test_the_code_makes_them_in_this_order(steps: list[str]) -> None:
    engine = FaultyTransport()
    mine, others = message_broker(engine, has_outbox=True), message_broker(engine, has_outbox=True)

    with transaction.atomic():
        mine.send([job()])
    assert steps == ["outbox.renew", "transport.publish", "outbox.confirmed"]

    steps.clear()
    (claim,) = mine.claim(["default"], 1, ME)
    mine.settle([success(claim)], ME)
    assert in_order(["transport.claim", "rows.record", "transport.ack"], steps)

    engine.faults["publish"] = "after"
    with transaction.atomic():
        mine.send([job()])
    QueuedJob.objects.update(status="READY")
    steps.clear()
    (claim,) = mine.claim(["default"], 1, ME)
    asked = ["rows.claim", "outbox.doubtful", "transport.find", "outbox.still_mine", "outbox.forget", "transport.claim"]
    assert in_order(asked, steps)

    steps.clear()
    WorkerProcess.objects.filter(id=ME).delete()
    for dead, held in others.orphans(HEIR).items():
        settle_dead(others, dead, held, GONE)
    assert in_order(["rows.orphans", "transport.inherit", "inheritance.written", "rows.record", "transport.ack"], steps)

    (claim,) = mine.claim(["default"], 1, OTHER)
    steps.clear()
    mine.settle([retry(claim)], OTHER)
    assert steps == ["rows.settle"]
