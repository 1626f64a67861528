"""From which queues jobs are claimed, and when their turn comes again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from taskq_django.jobs import Claim, Job
from taskq_django.worker import fetcher as module
from taskq_django.worker.fetcher import Fetcher
from tests.support.faulty_engine import FaultyTransport, message_broker, without_pauses
from tests.support.messages import register, success
from tests.support.sending import job


class Shelf:
    """A broker whose jobs are only counted."""

    def __init__(self, alias: str, **left: int) -> None:
        self.alias, self.left = alias, left
        self.asked: list[list[str]] = []
        self.sees_all = True

    def ready_queues(self) -> list[str]:
        return [name for name, left in self.left.items() if left]

    def claim(self, queue_names: Sequence[str], limit: int, worker_id: str) -> list[Claim]:
        self.asked.append(list(queue_names))
        claims: list[Claim] = []
        for name in queue_names:
            count = min(self.left[name], limit - len(claims))
            self.left[name] -= count
            claims += [Claim(Job("", "", "", self.alias, name), "", 0.0)] * count
        return claims


def fetcher_of(*brokers: Any, may_claim: Callable[[str], bool] = lambda alias: True) -> Fetcher:
    reach: Any = SimpleNamespace(here=lambda: brokers, has=lambda alias: True, guard=lambda broker: nullcontext())
    choice: Any = SimpleNamespace(serves=lambda name: True)
    made = Fetcher(reach, choice, "me", may_claim)
    made.look()
    return made


def queues(claims: list[Claim]) -> list[tuple[str, str]]:
    return [(claim.job.backend, claim.job.queue_name) for claim in claims]


def test_many_short_queues_are_claimed_in_one_call() -> None:
    shelf = Shelf("a", **{f"q{number}": 2 for number in range(30)})
    assert len(fetcher_of(shelf).fetch(100)) == 60
    assert len(shelf.asked) == 1


def test_so_many_queues_at_most_are_asked_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_QUEUES", 10)
    shelf = Shelf("a", **{f"q{number}": 1 for number in range(25)})
    assert len(fetcher_of(shelf).fetch(100)) == 25
    assert [len(asked) for asked in shelf.asked] == [10, 10, 5]


def test_a_queue_that_fills_a_claim_waits_until_the_others_had_their_turn() -> None:
    shelf = Shelf("a", long=20, short=3, other=20)
    fetcher = fetcher_of(shelf)
    served = [queues(fetcher.fetch(5)) for _ in range(6)]
    assert served == [
        [("a", "long")] * 5,
        [("a", "short")] * 3 + [("a", "other")] * 2,
        [("a", "long")] * 5,
        [("a", "other")] * 5,
        [("a", "long")] * 5,
        [("a", "other")] * 5,
    ]


def test_brokers_take_turns_though_one_has_many_queues() -> None:
    many, one = Shelf("many", **{f"q{number}": 9 for number in range(5)}), Shelf("one", q=9)
    fetcher = fetcher_of(many, one)
    served = [each for _ in range(6) for each in queues(fetcher.fetch(9))]
    assert served.count(("one", "q")) == 9


def test_what_was_not_reached_stays_in_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", 60.0)
    shelf = Shelf("a", first=1, second=1, third=1)
    fetcher = fetcher_of(shelf)
    assert [name for _ in range(3) for _, name in queues(fetcher.fetch(1))] == ["first", "second", "third"]


@pytest.mark.django_db(transaction=True)
def test_one_that_claims_nothing_tells_an_engine_all_the_same_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    without_pauses(monkeypatch)
    register("me")
    engine = FaultyTransport()
    engine.join("me")
    broker = message_broker(engine)
    broker.send([job(), job()])
    (claim,) = broker.claim(["default"], 1, "me")
    engine.faults["ack"] = "before"
    broker.settle([success(claim)], "me")
    assert engine.where()[claim.job.id] == "me"

    quiet = fetcher_of(broker, may_claim=lambda alias: False)

    assert claim.job.id not in engine.where()
    assert (quiet.has_candidates, quiet.saw_all) == (False, False)
