"""A transport by Redis beside a model of it, which is a few lists: whatever is done, both have the same."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from taskq_django.brokers.kombu.redis import RedisTransport
from taskq_django.brokers.messages.transport import HOLDER, NotJoined
from taskq_django.jobs import Claim
from taskq_django.states import State
from tests.support.redis_places import assert_whole
from tests.support.redis_servers import Redis
from tests.support.sending import job

pytestmark = [pytest.mark.once, pytest.mark.thorough]

QUEUES, WORKERS, PRIORITIES = ("a", "b", "b:0"), ("w1", "the web host/2-a %1", "w3"), (0, 0, 5, -5, 100)


class Model:
    """Each act is done in both, and what is returned is compared."""

    def __init__(self, transport: RedisTransport, chance: random.Random) -> None:
        self.transport, self.chance = transport, chance
        self.place: dict[str, tuple[str, int]] = {}  # queue and priority of what is there
        self.waiting: list[str] = []  # of all queues, the front first
        self.held: dict[str, dict[str, str]] = {worker: {} for worker in WORKERS}  # by holder: whose claim it was
        self.joined: set[str] = set()

    def queue(self, name: str) -> list[str]:
        mine = [id_ for id_ in self.waiting if self.place[id_][0] == name]
        return sorted(mine, key=lambda id_: -self.place[id_][1])  # a stable sort

    def publish(self) -> None:
        jobs = [
            job(queue_name=self.chance.choice(QUEUES), priority=self.chance.choice(PRIORITIES))
            for _ in range(self.chance.choice((1, 3, 40)))
        ]
        again = [job(id=id_) for id_ in self.chance.sample(sorted(self.place), min(2, len(self.place)))]
        self.transport.publish([*jobs, *again], 5.0)
        self.place |= {each.id: (each.queue_name, each.priority) for each in jobs}
        self.waiting += [each.id for each in jobs]

    def claim(self) -> None:
        worker, name, limit = self.chance.choice(WORKERS), self.chance.choice(QUEUES), self.chance.choice((1, 4, 90))
        if worker not in self.joined:
            with pytest.raises(NotJoined):
                self.transport.claim(name, limit, worker)
            return
        expected = self.queue(name)[:limit]
        assert [claim.job.id for claim in self.transport.claim(name, limit, worker)] == expected
        self.waiting = [id_ for id_ in self.waiting if id_ not in expected]
        self.held[worker] |= dict.fromkeys(expected, worker)

    def some(self, worker: str) -> list[Claim]:
        """Of what this worker holds, in its order, and one that it does not."""
        ids = [id_ for id_ in self.held[worker] if self.chance.random() < 0.5]
        ids += self.chance.sample(self.waiting, min(1, len(self.waiting)))
        return [Claim(job(id=id_), HOLDER + worker, 0.0) for id_ in ids]

    def ack(self) -> None:
        worker = self.chance.choice(WORKERS)
        claims = self.some(worker)
        mine = {claim.job.id for claim in claims if claim.job.id in self.held[worker]}
        assert self.transport.ack(claims) == mine
        for id_ in mine:
            del self.held[worker][id_], self.place[id_]

    def release(self) -> None:
        worker = self.chance.choice(WORKERS)
        claims = self.some(worker)
        mine = [claim.job.id for claim in claims if claim.job.id in self.held[worker]]
        assert self.transport.release(claims) == set(mine)
        self.put_back(worker, mine)

    def release_unanswered(self) -> None:
        worker = self.chance.choice(WORKERS)
        known = {claim.job.id for claim in self.some(worker)}
        lost = sorted(id_ for id_, whose in self.held[worker].items() if whose == worker and id_ not in known)
        assert self.transport.release_unanswered(worker, known) == len(lost)
        self.put_back(worker, lost)

    def put_back(self, worker: str, ids: list[str]) -> None:
        self.waiting[:0] = ids
        for id_ in ids:
            del self.held[worker][id_]

    def inherit(self) -> None:
        dead, heir = self.chance.sample(WORKERS, 2)
        self.held[heir] |= dict.fromkeys(self.held[dead], dead)
        self.held[dead] = {}
        self.joined = (self.joined | {heir}) - {dead}
        expected = {id_ for id_, whose in self.held[heir].items() if whose == dead}
        assert {claim.job.id for claim, _ in self.transport.inherit(dead, heir)} == expected

    def join(self) -> None:
        worker = self.chance.choice(WORKERS)
        self.transport.join(worker)
        self.joined.add(worker)

    def purge(self) -> None:
        name = self.chance.choice(QUEUES)
        gone = set(self.queue(name))
        assert self.transport.purge(name) == len(gone)
        self.waiting = [id_ for id_ in self.waiting if id_ not in gone]
        self.place = {id_: place for id_, place in self.place.items() if id_ not in gone}

    def compare(self) -> None:
        assert set(self.transport.queues()) == {self.place[id_][0] for id_ in self.waiting}
        assert self.transport.workers() == self.joined
        for name in QUEUES:
            assert [each.id for each in self.transport.peek(name, 1000)] == self.queue(name)
        found = {id_: (each.state, each.worker_id) for id_, each in self.transport.find(list(self.place)).items()}
        holders = {id_: (State.RUNNING, worker) for worker, ids in self.held.items() for id_ in ids}
        assert found == dict.fromkeys(self.waiting, (State.READY, "")) | holders


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_done_it_has_what_a_few_lists_would_have(
    redis_server: Redis, transport_to: Callable[..., RedisTransport], seed: int
) -> None:
    chance = random.Random(seed)
    model = Model(transport_to(redis_server), chance)
    often, seldom = [model.publish, model.claim, model.claim, model.ack, model.release], [model.inherit, model.purge]
    acts = often * 3 + seldom + [model.join] * 2 + [model.release_unanswered]

    with redis_server.client() as client:
        for _ in range(200):
            chance.choice(acts)()
            model.compare()
            assert assert_whole(client) == set(model.place)
