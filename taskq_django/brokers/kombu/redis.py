"""Jobs in Redis or Valkey. What happens there is in lua.py; every moment is by the server's clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from redis.exceptions import NoScriptError, RedisError

from ...conf import BackendOptions
from ...exceptions import BrokerError, BrokerUnavailable, PayloadTooLarge
from ...jobs import Claim, Job, is_id
from ...states import State
from ...store.weights import HEAVIEST
from ..base import Depth, Found
from ..messages.bodies import NewerVersion, Unreadable, pack, unpack
from ..messages.transport import HOLDER, NewerMessage, NotJoined, Transport
from . import lua, lua_ends, lua_questions
from .bell import RedisBell
from .connection import RedisConnection
from .redis_wire import apart, by_holder, by_list, in_chunks, parts, texts
from .waiters import Waiters

logger = logging.getLogger(__name__)

LARGEST = 64 << 20  # bytes of a message: a server serves nobody else while it takes one in, here some 0.3 s
FOUND_AT_ONCE = 100  # messages that are looked for by one call: each may be large
WATCHED = 10  # seconds for which it is known that somebody waits for the end of a job
UNREADABLE = "unreadable"  # stands for the task of a message that cannot be read


class RedisTransport(Transport):
    """``name``: what its keys are under; it belongs to the store with the id that ``store_id`` returns."""

    def __init__(self, alias: str, connection: RedisConnection, store_id: Callable[[], str], name: str = "") -> None:
        self._alias = alias
        self._connection = connection
        self._store_id = store_id
        self._store = ""
        self._name = name or alias
        self._prefix = f"taskq:{{{self._name}}}:"
        self._waiters = Waiters(connection, f"{self._prefix}ended")
        # Loop thread only:
        self._bell: RedisBell | None = None
        self._waiting: set[str] = set()  # queues with messages, when last looked at, of which none was claimed since

    @classmethod
    def opened(cls, alias: str, options: BackendOptions, store_id: Callable[[], str]) -> RedisTransport:
        connection, name = RedisConnection(options.broker, options.transport_options), options.name or ""
        if not options.celery_compatible:
            return cls(alias, connection, store_id, name)
        from .celery_redis import CeleryRedisTransport, queues_of

        return CeleryRedisTransport(
            alias, connection, store_id, name, queue_names=lambda: queues_of(alias), max_payload=options.max_payload
        )

    def check(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            # A character takes six bytes at most.
            if len(job.payload) + len(job.headers) > LARGEST // 8 and (size := self._size(job)) > LARGEST:
                raise PayloadTooLarge(
                    f"{job.task_path}: its arguments make a message of {size:,} bytes, and Redis holds everybody up "
                    f"with more than {LARGEST:,}. Store what is large elsewhere, and pass where it is."
                )

    def _size(self, job: Job) -> int:
        return len(pack(job))

    def publish(self, jobs: Sequence[Job], within: float) -> datetime:
        messages = [(job, pack(job)) for job in jobs]
        moment, taken = (b"0", b"0"), 0
        for part in parts(messages) or [()]:
            try:
                moment = self._ask(lua.PUBLISH, *by_list(part), within=within)
            except BrokerUnavailable as error:
                if not taken:
                    raise
                raise BrokerUnavailable(f"{error} It has {taken} of {len(jobs)} jobs for certain.") from error
            taken += len(part)
        seconds, microseconds = map(int, moment)
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)

    def queues(self) -> list[str]:
        names = texts(self._ask(lua_questions.QUEUES))
        self._waiting = set(names)
        return names

    def claim(self, queue_name: str, limit: int, worker_id: str) -> list[Claim]:
        self._waiting.discard(queue_name)
        wake = self._bell.wake_key if self._bell else ""
        now, lengths, text = self._ask(lua.CLAIM, worker_id, queue_name, limit, HEAVIEST, wake)
        if lengths and wake and self._bell:
            self._bell.note_woken()
        moment, receipt, claims = float(now), HOLDER + worker_id, []
        messages = apart(lengths, text)
        for id_, stored in messages:
            try:
                job = self._job(id_, stored)._replace(queue_name=queue_name)  # whatever it was published to
                claims.append(_claim_of(job, receipt, moment))
            except Unreadable as error:
                claims += self._unreadable(id_, queue_name, receipt, error)
            except NewerVersion as error:
                self._ask(lua.RELEASE, worker_id, *(id_ for id_, _ in messages))
                raise NewerMessage(f"{error} Run workers of the newer release.", known=True) from error
        return claims

    def ack(self, claims: Sequence[Claim]) -> set[str]:
        done: set[str] = set()
        for holder, ids in by_holder(claims):
            done |= set(ids).difference(texts(self._ask(lua_ends.ACK, holder, *ids)))
        return done

    def release(self, claims: Sequence[Claim]) -> set[str]:
        put: set[str] = set()
        # From the last on, because each goes before those that are there.
        for holder, ids in reversed(list(by_holder(claims))):
            put.update(texts(self._ask(lua.RELEASE, holder, *ids)))
        return put

    def release_unanswered(self, worker_id: str, held: Collection[str]) -> int:
        return int(self._ask(lua.RELEASE_UNANSWERED, worker_id, *held))

    def join(self, worker_id: str) -> None:
        self._ask(lua.JOIN, worker_id)

    def workers(self) -> set[str]:
        return set(texts(self._ask(lua_questions.WORKERS)))

    def inherit(self, dead: str, heir: str) -> list[tuple[Claim, float]]:
        now, *answer = self._ask(lua.INHERIT, dead, heir)
        moment, receipt, inherited = float(now), HOLDER + heir, []
        for id_, entry, stored in zip(answer[::3], answer[1::3], answer[2::3], strict=True):
            seconds, _, _, queue = entry.decode("utf-8", "replace").split(" ", 3)
            age = max(0.0, moment - float(seconds))
            try:
                claims = [_claim_of(self._job(id_, stored)._replace(queue_name=queue), receipt, float(seconds))]
            except Unreadable as error:
                claims = self._unreadable(id_, queue, receipt, error)
            except NewerVersion:  # who reads it will have it
                self._ask(lua.RELEASE, heir, id_)
                continue
            inherited += [(claim, age) for claim in claims]
        return inherited

    def bell(self) -> RedisBell:
        self._bell = RedisBell(self._connection, self._prefix, self._pass_on)
        return self._bell

    def close(self) -> None:
        self._connection.close()

    def describe(self) -> str:
        return self._connection.described

    def find(self, ids: Collection[str]) -> dict[str, Found]:
        found = {}
        for part in in_chunks(list(ids), FOUND_AT_ONCE):
            answer = self._ask(lua_questions.FIND, *part)
            for id_, stored, holder, entry in zip(*(answer[nth::4] for nth in range(4)), strict=True):
                job = self._seen(id_, stored)
                if holder:
                    job = job._replace(attempts=1, started_at=float(entry.split(b" ", 1)[0]))
                found[job.id] = Found(job, State.RUNNING if holder else State.READY, holder.decode())
        return found

    def watch(self, id_: str, tell: Callable[[], object]) -> bool:
        self._waiters.add(id_, tell)  # first, or it could end unheard
        return bool(self._ask(lua_ends.WATCH, id_, WATCHED))

    def unwatch(self, id_: str, tell: Callable[[], object]) -> None:
        self._waiters.remove(id_, tell)

    def depth(self) -> list[Depth]:
        now, *answer = self._ask(lua_questions.DEPTH)
        running = self._running()
        depths = []
        for name, count, oldest in zip(texts(answer[::3]), answer[1::3], answer[2::3], strict=True):
            waited = max(0.0, float(now) - float(oldest)) if oldest else None
            depths.append(Depth(name, ready=count, running=running.pop(name, 0), oldest=waited))
        return depths + [Depth(name, running=count) for name, count in running.items()]

    def held_by(self, worker_id: str, limit: int) -> list[str]:
        return texts(self._ask(lua_questions.HELD_BY, worker_id, limit))

    def peek(self, queue_name: str, limit: int) -> list[Job]:
        answer = self._ask(lua_questions.PEEK, queue_name, limit, HEAVIEST)
        jobs = (self._seen(id_, stored) for id_, stored in zip(answer[::2], answer[1::2], strict=True))
        return [job._replace(queue_name=queue_name) for job in jobs]

    def purge(self, queue_name: str) -> int:
        removed, last = 0, lua.MOST
        while last == lua.MOST:
            last = self._ask(lua_ends.PURGE, queue_name)
            removed += last
        return removed

    def _running(self) -> dict[str, int]:
        """Of each queue how many messages are held."""
        running: dict[str, int] = {}
        for worker in texts(self._ask(lua_questions.WORKERS)):
            held = self._ask(lua_questions.HELD, worker)
            for name, count in zip(texts(held[::2]), held[1::2], strict=True):
                running[name] = running.get(name, 0) + count
        return running

    def _ask(self, script: lua.Script, *arguments: object, within: float | None = None) -> Any:
        """The answer of a script. One that the server does not know has done nothing, so its text is sent then."""
        self._store = self._store or self._store_id()
        client = self._connection.client(within or self.patience)
        given: tuple[Any, ...] = (1, self._prefix, self._store, *arguments)
        try:
            try:
                return client.execute_command("EVALSHA", script.digest, *given)
            except NoScriptError:
                return client.execute_command("EVAL", script.text, *given)
        except (RedisError, OSError) as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> NoReturn:
        if str(error).startswith(lua.NOT_JOINED):
            raise NotJoined(str(error).split()[1]) from None
        if str(error).startswith(lua.OTHER_STORE):
            raise BrokerError(
                f"{self._connection.described}: the name {self._name!r} belongs to another database, whose workers "
                f'would run these jobs. Give TASKS["{self._alias}"] another OPTIONS["name"].'
            ) from None
        raise self._connection.explain(error) from error

    def _job(self, id_: bytes, stored: bytes) -> Job:
        published, _, body = stored.partition(b" ")
        try:
            moment = float(published)
        except ValueError as error:
            raise Unreadable("This message is no job of taskq_django: it does not begin with its time.") from error
        return unpack(id_.decode("utf-8", "replace"), body, self._alias, moment)

    def _unreadable(self, id_: bytes, queue_name: str, receipt: str, error: Unreadable) -> list[Claim]:
        """A claim that fails with what was found. There is none without a job's id: no store could keep its result."""
        text = id_.decode("utf-8", "replace")
        if is_id(text):
            job = Job(text, UNREADABLE, "", self._alias, queue_name, attempts=1)
            return [Claim(job, receipt, 0.0, State.FAILED, reason=str(error))]
        logger.error("A message of Redis is removed, because it is no job: %s", error, extra={"queue": queue_name})
        self._ask(lua_ends.ACK, receipt.removeprefix(HOLDER), id_)
        return []

    def _seen(self, id_: bytes, stored: bytes) -> Job:
        """For people, also where it cannot be read."""
        try:
            return self._job(id_, stored)._replace(attempts=0)
        except (Unreadable, NewerVersion):
            return Job(id_.decode("utf-8", "replace"), UNREADABLE, "", self._alias, "")

    def _pass_on(self, passed: int, queues: Sequence[str]) -> None:
        if left := [name for name in queues if name in self._waiting]:
            self._ask(lua.PASS_ON, passed, *left)


def _claim_of(job: Job, receipt: str, moment: float) -> Claim:
    waited = max(0.0, moment - job.enqueued_at)
    is_late = job.expires_us is not None and waited * 1_000_000 > job.expires_us
    return Claim(job, receipt, waited, State.EXPIRED.value if is_late else "")
