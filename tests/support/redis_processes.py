"""Processes that use one Redis and are killed: a program of its own, because only one without threads may fork.

``python -m tests.support.redis_processes ACT URL [SECONDS]`` prints what was seen, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import django
import redis

STORE = "0198c0de-0000-7000-8000-000000000001"
PATIENCE = 30.0  # seconds for a publish
ENOUGH_KILLS, ENOUGH_JOBS = 21, 101


def main(act: str, url: str, seconds: str = "5") -> None:
    django.setup()
    _transport(url)  # imports, which forks need not do again
    folder = Path(tempfile.mkdtemp(prefix="taskq-redis-"))
    acts = {"kill": kill, "first": first_use, "fork": fork_after_use}
    print(json.dumps(acts[act](url, float(seconds), folder)))  # noqa: T201


def kill(url: str, seconds: float, folder: Path) -> dict[str, object]:
    """Workers and producers are killed at any moment, what they held is inherited, and all are started again.

    It takes as long as it needs for some kills and some jobs that were acknowledged between them.
    """
    from tests.support.redis_places import assert_whole

    client = redis.Redis.from_url(url)
    heir = _transport(url)
    heir.join("heir")
    workers: dict[int, str] = {}
    producers: dict[int, str] = {}
    kills, spoiled = 0, set[str]()
    names = (f"p{number}" for number in range(10**6))

    def start() -> None:
        while len(workers) < 3:
            name = next(names)
            workers[_forked(_work, url, name, folder)] = name
        while len(producers) < 2:
            name = next(names)
            producers[_forked(_produce, url, name, folder)] = name

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or kills < ENOUGH_KILLS or len(_written(folder, "sent")) < ENOUGH_JOBS:
        start()
        time.sleep(random.uniform(0.01, 0.06))
        victims = random.choice([[*workers, *producers], random.sample([*workers], 1), random.sample([*producers], 1)])
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        for pid in victims:
            os.waitpid(pid, 0)
            kills += 1
            producers.pop(pid, None)
            if name := workers.pop(pid, ""):
                inherited = [claim for claim, _ in heir.inherit(name, "heir")]
                spoiled |= {claim.job.id for claim in inherited}
                assert len(heir.release(inherited)) == len(inherited)
        if not workers and not producers:
            missing = _written(folder, "sent").keys() - _written(folder, "run").keys() - assert_whole(client)
            assert not missing, f"lost: {missing}"
    for pid in [*workers, *producers]:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for name in workers.values():
        inherited = [claim for claim, _ in heir.inherit(name, "heir")]
        spoiled |= {claim.job.id for claim in inherited}
        heir.release(inherited)
    rest = Counter[str]()
    while claims := heir.claim("default", 1000, "heir"):
        rest.update(claim.job.id for claim in claims)
        heir.ack(claims)
    runs = _written(folder, "run") + rest
    return {
        "kills": kills,
        "acknowledged": len(_written(folder, "sent")),
        "lost": sorted(_written(folder, "sent").keys() - runs.keys()),
        "twice": sorted(id_ for id_, count in runs.items() if count > 1 and id_ not in spoiled),
        "left": sorted(assert_whole(client)),
    }


def first_use(url: str, seconds: float, folder: Path) -> dict[str, object]:
    """Sixteen processes of two stores begin at once, many times over; returns how many of each were let in."""
    rounds = []
    with redis.Redis.from_url(url) as client:
        for number in range(10):
            client.flushall()
            go = time.time() + 0.05
            pids = [_forked(_begin, url, f"store-{each % 2}", go) for each in range(16)]
            let_in = Counter(each % 2 for each, pid in enumerate(pids) if os.waitpid(pid, 0)[1] == 0)
            rounds.append([let_in[0], let_in[1], int(client.hlen("taskq:{default}:jobs")), number])
    return {"rounds": rounds}


def fork_after_use(url: str, seconds: float, folder: Path) -> dict[str, object]:
    """A parent that has published, and its four children, publish at the same time."""
    transport = _transport(url)
    transport.publish([_job()], PATIENCE)
    pids = [_forked(_publish_one_by_one, transport, 200) for _ in range(4)]
    _publish_one_by_one(transport, 200)
    ended = [os.waitpid(pid, 0)[1] for pid in pids]
    return {"ended": ended, "there": sum(depth.ready for depth in transport.depth())}


def _work(url: str, name: str, folder: Path) -> None:
    transport, notes = _transport(url), _notes(folder, "run")
    transport.join(name)
    while True:
        claims = transport.claim("default", random.choice((1, 5, 40)), name)
        returned = claims[::7] if random.random() < 0.1 else []
        done = [claim for claim in claims if claim not in returned]
        transport.release(returned)
        os.write(notes, "".join(f"{claim.job.id}\n" for claim in done).encode())
        transport.ack(done)


def _produce(url: str, name: str, folder: Path) -> None:
    transport, notes = _transport(url), _notes(folder, "sent")
    while True:
        jobs = [_job(random.choice((0, -5, 7))) for _ in range(random.choice((1, 1, 20)))]
        transport.publish(jobs, PATIENCE)
        os.write(notes, "".join(f"{job.id}\n" for job in jobs).encode())
        time.sleep(0.003)  # workers keep up


def _begin(url: str, store: str, go: float) -> None:
    transport = _transport(url, store)
    time.sleep(max(0.0, go - time.time()))  # all at one moment
    transport.publish([_job()], PATIENCE)


def _publish_one_by_one(transport, count: int) -> None:  # type: ignore[no-untyped-def]
    for _ in range(count):
        transport.publish([_job()], PATIENCE)


def _forked(target: Callable[..., None], *arguments: object) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        random.seed()
        target(*arguments)
        code = 0
    finally:
        os._exit(code)


def _transport(url: str, store: str = STORE):  # type: ignore[no-untyped-def]
    from taskq_django.brokers.kombu.connection import RedisConnection
    from taskq_django.brokers.kombu.redis import RedisTransport

    return RedisTransport("default", RedisConnection(url), lambda: store)


def _job(priority: int = 0):  # type: ignore[no-untyped-def]
    from tests.support.sending import job

    return job(priority=priority)


def _notes(folder: Path, kind: str) -> int:
    """Lines of one write are whole, also when it is the last act of a process."""
    return os.open(folder / kind, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _written(folder: Path, kind: str) -> Counter[str]:
    path = folder / kind
    return Counter(path.read_text().split()) if path.exists() else Counter()


if __name__ == "__main__":
    main(*sys.argv[1:])
