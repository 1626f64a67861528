"""Jobs in the lists of a Celery app: its workers run ours, and ours run what its clients send.

kombu's Producer writes what is published, so that the bytes are Celery's. What is claimed is taken by one script and
held as all messages of Redis are; neither BRPOP nor Celery's ``unacked`` is used, by which a killed worker loses
messages.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from redis.exceptions import RedisError

from ...compat import task_backends
from ...exceptions import BrokerUnavailable
from ...jobs import Claim, Job
from ...registry import registry
from ...states import State
from ...store.weights import HEAVIEST
from ..base import Depth, Found
from ..messages.transport import HOLDER
from . import celery_lua, celery_lua_questions, lua, lua_questions
from .celery_envelopes import declare, enveloped, in_parts, size_of
from .celery_wire import Envelope, Reader, check, is_writable, write
from .connection import RedisConnection
from .redis import FOUND_AT_ONCE, RedisTransport
from .redis_wire import by_holder, in_chunks, texts


class CeleryRedisTransport(RedisTransport):
    """``queue_names``: the queues that are looked at beside those that we have published to, because in Redis nothing
    tells which lists are queues, and whose.

    A claim whose job has a ``run_after`` must wait until then.
    """

    finds_waiting = False  # not what a client of Celery has sent, or what its worker has taken
    has_others = True

    def __init__(
        self,
        alias: str,
        connection: RedisConnection,
        store_id: Callable[[], str],
        name: str = "",
        *,
        queue_names: Callable[[], Collection[str]],
        max_payload: int,
    ) -> None:
        super().__init__(alias, connection, store_id, name)
        self._queue_names = queue_names
        self._reader = Reader(alias, timezone.get_default_timezone(), max_payload)
        # A character takes kombu six bytes at most, and base64 makes four of three.
        self._largest = 8 * max_payload + (64 << 10)
        self._declaring = threading.Lock()
        self._declared: set[str] = set()

    def check(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            check(job)
        super().check(jobs)

    def _size(self, job: Job) -> int:
        return size_of(write(job, 0.0, ""))

    def is_for_others(self, job: Job) -> bool:
        """Has this project no such task?"""
        return registry.seek(job.task_path) is None and is_writable(job)

    def publish(self, jobs: Sequence[Job], within: float) -> datetime:
        now = float(self._ask(celery_lua_questions.TIME, within=within))
        origin = f"taskq{os.getpid()}@{socket.gethostname()}"
        # Whoever enqueues has the task; without it a row is published.
        foreign = {job.id for job in jobs if registry.get(job.task_path) is None}
        messages = [write(job, now, origin, for_others=job.id in foreign) for job in jobs]
        self._declare({job.queue_name for job in jobs}, within)
        taken = 0
        for part in in_parts(enveloped(messages, self._connection.channel(within))):
            ours = {each.queue_name for each in part if each.id not in foreign}
            fields = (field for each in part for field in each)
            try:
                self._ask(celery_lua.PUBLISH, len(ours), *ours, *fields, within=within)
            except BrokerUnavailable as error:
                if not taken:
                    raise
                raise BrokerUnavailable(f"{error} It has {taken} of {len(jobs)} jobs for certain.") from error
            taken += len(part)
        return datetime.fromtimestamp(now, UTC)

    def queues(self) -> list[str]:
        names = self._names()
        self._waiting = {name for name, counts in self._lengths(names) if any(counts)}
        return [name for name in names if name in self._waiting]

    def claim(self, queue_name: str, limit: int, worker_id: str) -> list[Claim]:
        self._waiting.discard(queue_name)
        if queue_name not in self._queue_names() and queue_name not in self._names():
            return []  # it has rows, and what lies there is for workers of Celery
        wake = self._bell.wake_key if self._bell else ""
        asked = (queue_name, limit, HEAVIEST, self._largest, worker_id, wake)
        now, *answer = self._ask(celery_lua.CLAIM, *asked, *self._lists(queue_name))
        if answer and wake and self._bell:
            self._bell.note_woken()
        return self._read(answer, queue_name, HOLDER + worker_id, float(now))

    def release(self, claims: Sequence[Claim]) -> set[str]:
        put: set[str] = set()
        for holder, ids in reversed(list(by_holder(claims))):
            put.update(texts(self._ask(celery_lua.RELEASE, *self._naming, holder, *ids)))
        return put

    def release_unanswered(self, worker_id: str, held: Collection[str]) -> int:
        return int(self._ask(celery_lua.RELEASE_UNANSWERED, *self._naming, worker_id, *held))

    def inherit(self, dead: str, heir: str) -> list[tuple[Claim, float]]:
        now, *answer = self._ask(lua.INHERIT, dead, heir)
        inherited = []
        for id_, entry, stored in zip(answer[::3], answer[1::3], answer[2::3], strict=True):
            claim, claimed_at = self._held(id_, entry, stored, HOLDER + heir)
            inherited.append((claim, max(0.0, float(now) - claimed_at)))
        return inherited

    def describe(self) -> str:
        return f"{super().describe()}, in the lists of Celery"

    def known(self, ids: Collection[str]) -> set[str]:
        """Those that are held, and those that were published in the last hour and were not claimed by us since.

        A worker of Celery may have taken one of the latter.
        """
        return {
            id_
            for part in in_chunks(list(ids), lua.MOST)
            for id_ in texts(self._ask(celery_lua_questions.KNOWN, *part))
        }

    def find(self, ids: Collection[str]) -> dict[str, Found]:
        """Those that are held, and of those that ``known`` tells of what is not long."""
        found = {}
        for part in in_chunks(list(ids), FOUND_AT_ONCE):
            now, *told = self._ask(celery_lua_questions.TOLD, *part)
            for id_, text in zip(told[::2], told[1::2], strict=True):
                claim = self._told(id_, text, float(now))
                found[claim.job.id] = Found(claim.job._replace(attempts=0), State.READY)
            answer = self._ask(lua_questions.FIND, *part)
            for id_, stored, holder, entry in zip(*(answer[nth::4] for nth in range(4)), strict=True):
                if holder:
                    claim, claimed_at = self._held(id_, entry, stored, "")
                    job = claim.job._replace(started_at=claimed_at)
                    found[job.id] = Found(job, State.RUNNING, holder.decode())
        return found

    def watch(self, id_: str, tell: Callable[[], object]) -> bool:
        return super().watch(id_, tell) or bool(self.known([id_]))

    def depth(self) -> list[Depth]:
        running = self._running()
        depths = [
            Depth(name, ready=sum(counts), running=running.pop(name, 0), oldest=self._oldest(name))
            for name, counts in self._lengths(self._names())
            if any(counts) or name in running
        ]
        return depths + [Depth(name, running=count) for name, count in running.items()]

    def peek(self, queue_name: str, limit: int) -> list[Job]:
        return [claim.job._replace(attempts=0) for claim in self._peek(queue_name, limit)]

    def purge(self, queue_name: str) -> int:
        removed, last = 0, lua.MOST
        while last == lua.MOST:
            last = self._ask(celery_lua.PURGE, self._largest, *self._lists(queue_name)[::2])
            removed += last
        return removed

    # --- the lists of kombu -----------------------------------------------------------------------------------------

    @property
    def _naming(self) -> tuple[str, str]:
        """What begins the name of every list, and what parts the queue from the step."""
        channel = self._connection.channel(self.patience)
        return channel.global_keyprefix, channel.sep

    def _lists(self, queue_name: str) -> list[str]:
        """Name and step of each list of a queue, one after the other, the one of the highest priority first."""
        channel = self._connection.channel(self.patience)
        named = ((channel.global_keyprefix + channel._q_for_pri(queue_name, n), str(n)) for n in channel.priority_steps)
        return [each for pair in named for each in pair]

    def _names(self) -> list[str]:
        """The queues that are looked at: the given ones, and those that we have published to."""
        return list(dict.fromkeys([*self._queue_names(), *texts(self._ask(lua_questions.QUEUES))]))

    def _lengths(self, names: Sequence[str]) -> Iterator[tuple[str, Sequence[int]]]:
        """Of each queue how many envelopes its lists have."""
        width = len(self._connection.channel(self.patience).priority_steps)
        for part in in_chunks(names, lua.MOST):
            lists = (key for name in part for key in self._lists(name)[::2])
            lengths = self._ask(celery_lua_questions.LENGTHS, *lists)
            yield from zip(part, in_chunks(lengths, width), strict=True)

    def _declare(self, names: Collection[str], within: float) -> None:
        """Tell the clients and workers of Celery of these queues, as kombu does: by a set of bindings in Redis."""
        for name in set(names) - self._declared:
            with self._declaring:
                try:
                    declare(name, self._connection.channel(within))
                except (RedisError, OSError) as error:
                    raise self._connection.explain(error) from error
                self._declared.add(name)

    # --- what was found there ---------------------------------------------------------------------------------------

    def _read(self, answer: Sequence[Any], queue_name: str, receipt: str, now: float) -> list[Claim]:
        quads = zip(*(answer[nth::4] for nth in range(4)), strict=True)
        envelopes = (Envelope(id_.decode(), text, int(size), queue_name, int(step)) for id_, step, size, text in quads)
        return [self._reader.read(envelope, receipt, now) for envelope in envelopes]

    def _held(self, id_: bytes, entry: bytes, stored: bytes, receipt: str) -> tuple[Claim, float]:
        """The claim of what somebody holds, and when it was made."""
        seconds, step, _, queue = entry.decode().split(" ", 3)
        text = stored.partition(b" ")[2]
        shown = text if len(text) <= self._largest else text[:4096]
        envelope = Envelope(id_.decode(), shown, len(text), queue, int(step))
        return self._reader.read(envelope, receipt, float(seconds)), float(seconds)

    def _told(self, id_: bytes, told: bytes, now: float) -> Claim:
        place, _, text = told.partition(b"\n")
        step, queue = place.decode().split(" ", 1)
        return self._reader.read(Envelope(id_.decode(), text, len(text), queue, int(step)), "", now)

    def _peek(self, queue_name: str, limit: int) -> list[Claim]:
        asked = (limit, HEAVIEST, self._largest)
        now, *answer = self._ask(celery_lua_questions.PEEK, *asked, *self._lists(queue_name))
        return self._read(answer, queue_name, "", float(now))

    def _oldest(self, queue_name: str) -> float | None:
        """Seconds that the first one has waited; 0 where its sender has not said since when."""
        return max((claim.waited for claim in self._peek(queue_name, 1)), default=None)


def queues_of(alias: str) -> Collection[str]:
    """Where a backend looks: at its QUEUES, else where Celery's clients send by themselves, and where its tasks are."""
    given: Collection[str] = getattr(task_backends[alias], "queues", ())
    tasks = (task.queue_name for task in registry.all() if task.backend == alias)
    return given or dict.fromkeys(["default", "celery", *tasks])
