"""A job as a Celery message, protocol 2, in the envelope that kombu lays into Redis, and back. Nothing is sent here.

What we write is for kombu's Producer, so that the bytes are Celery's. What we read may be by any hand.
"""

from __future__ import annotations

import json
from binascii import a2b_base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from reprlib import Repr
from typing import Any, NamedTuple

import orjson

from ...backoff import LONGEST_DELAY
from ...conf import is_redacted
from ...exceptions import ArgumentError
from ...jobs import SENSITIVE, Claim, Job, headers_of
from ...states import State
from ..messages.bodies import LONGEST_SHOWN
from .celery_arguments import Foreign, check_arguments, for_celery, from_celery

OURS = "taskq"  # the header with what protocol 2 has no place for; a Celery worker passes it over
# The headers of protocol 2. Others are by the sender's own hand: they are the metadata of the job.
HEADERS = {
    *("lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id"),
    *("parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers"),
    *("stamps", "compression", "meth", OURS),
}
LATER = {
    "chord": "it is a part of a chord, whose counters are Celery's",
    "chain": "it is followed by the rest of a chain",
    "callbacks": "it has callbacks (link)",
    "errbacks": "it has errbacks (link_error)",
}
NO_ARGUMENTS = "[[],{}]"
LONGEST_REPR = 1024  # characters, as Celery's own
MOST_TRIES = 1_000_000


class Message(NamedTuple):
    """What kombu's Producer is given to publish."""

    queue_name: str
    body: tuple[list[Any], dict[str, Any], dict[str, None]]
    headers: dict[str, Any]
    priority: int  # Celery's
    expiration: float | None  # seconds


class Envelope(NamedTuple):
    """An element of a list of Celery, and where it lay."""

    id: str  # of the job that it becomes
    text: bytes  # of one that is too large its beginning only
    size: int  # of the whole
    queue_name: str
    step: int  # of its list


class Reader(NamedTuple):
    """How envelopes become claims of one backend."""

    backend: str
    zone: tzinfo  # of times that have none
    max_payload: int  # bytes

    def read(self, envelope: Envelope, receipt: str, now: float) -> Claim:
        """The claim of a message; ``now``: POSIX seconds, by the engine's clock. Never raises.

        The job has a ``run_after`` if, and only if, it must wait: it has an eta that is to come. What cannot be
        run here has the verdict FAILED, and its reason.
        """
        name = ""
        try:
            headers, properties, found = _opened(envelope)
            name = _name(headers)
            return self._claim(envelope, receipt, now, headers, _body(found, headers, properties))
        except Foreign as error:
            reason = f"This Celery message cannot be run here: {error}."
            if not name:
                reason += f" It begins: {envelope.text[:LONGEST_SHOWN].decode('utf-8', 'backslashreplace')}"
            job = Job(
                envelope.id,
                name or "unreadable",
                NO_ARGUMENTS,
                self.backend,
                envelope.queue_name,
                priority_of(envelope.step),
                attempts=1,
                enqueued_at=now,
            )
            return Claim(job, receipt, 0.0, State.FAILED.value, reason=reason.replace("\0", "\\x00")[:LONGEST_SHOWN])

    def _claim(self, envelope: Envelope, receipt: str, now: float, headers: dict[str, Any], body: str) -> Claim:
        payload, embed = from_celery(body, self.max_payload)
        for key, problem in LATER.items():
            if embed.get(key) or (key == "chord" and headers.get("chord")):
                raise Foreign(f"{problem}, and this worker would not start what follows")
        eta, expires = (self._moment(headers, key, now) for key in ("eta", "expires"))
        ours = headers.get(OURS)
        ours = ours if type(ours) is dict else {}
        stamp = ours.get("sent")
        sent = stamp if type(stamp) is float and 0 < stamp < now else now
        waits = eta is not None and eta.timestamp() > now
        due = max(sent, eta.timestamp()) if eta else sent
        job = Job(
            envelope.id,
            _name(headers),
            payload,
            self.backend,
            envelope.queue_name,
            _priority(ours.get("priority"), envelope.step),
            _headers(envelope.id, headers, ours.get("headers")),
            tries=_tries(headers),
            attempts=1,
            enqueued_at=sent,
            run_after=eta if waits else None,
            expires_us=None if expires is None else max(0, int((expires.timestamp() - due) * 1e6)),
        )
        late = expires is not None and expires.timestamp() <= now
        return Claim(job, receipt, max(0.0, now - due), State.EXPIRED.value if late else "")

    def _moment(self, headers: dict[str, Any], key: str, now: float) -> datetime | None:
        """Not beyond a hundred years, as all delays: a store does not reckon with the end of the calendar."""
        text = headers.get(key)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
            moment = (moment if moment.tzinfo else moment.replace(tzinfo=self.zone)).astimezone(UTC)
            return min(moment, datetime.fromtimestamp(now + LONGEST_DELAY, UTC))
        except (TypeError, ValueError, OverflowError):
            raise Foreign(f"its {key} is no time in ISO 8601") from None


def write(job: Job, now: float, origin: str, *, for_others: bool = False) -> Message:
    """A job that is due, for kombu's Producer. ``now``: POSIX seconds. ``origin``: who sends, for people.

    ``for_others``: no worker of ours takes it, because this project has no such task. Raises ArgumentError, as
    ``check``.
    """
    args, kwargs = for_celery(job.payload, job.headers)
    stored = headers_of(job.headers) or {}
    seconds = None if job.expires_us is None else job.expires_us / 1e6
    secret = SENSITIVE in stored or any(map(is_redacted, kwargs))
    headers: dict[str, Any] = {
        "lang": "py",
        "task": job.task_path,
        "id": job.id,
        "shadow": None,
        "eta": None,
        "expires": None if seconds is None else (datetime.fromtimestamp(now, UTC) + timedelta(0, seconds)).isoformat(),
        "group": None,
        "group_index": None,
        "retries": job.tries,
        "timelimit": [None, None],
        "root_id": job.id,
        "parent_id": None,
        "argsrepr": "(...)" if secret else _shown(tuple(args)),
        "kwargsrepr": "{...}" if secret else _shown(kwargs),
        "origin": origin,
        "ignore_result": None,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        OURS: {
            "sent": now,
            "priority": job.priority,
            **({"headers": stored} if stored else {}),
            **({"others": True} if for_others else {}),
        },
    }
    embed = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
    return Message(job.queue_name, (args, kwargs, embed), headers, step_of(job.priority), seconds)


def check(job: Job) -> None:
    """Raises ArgumentError for a job that cannot be a Celery message: at the caller, before it is sent."""
    check_arguments(job.payload, job.headers)
    if not job.queue_name.isprintable():
        raise ArgumentError(f"The queue {job.queue_name!r} cannot be one of Celery's: take printable characters only.")


def is_writable(job: Job) -> bool:
    """Can it be a Celery message?"""
    try:
        check(job)
    except ArgumentError:
        return False
    return True


def step_of(priority: int) -> int:
    """Of our priority the list of Celery: 0, which is the first and the default, 3, 6 or 9."""
    return 0 if priority >= 0 else min(9, -3 * (priority // 33))


def priority_of(step: int) -> int:
    """Of a list of Celery our priority: 0, -33, -66 or -99."""
    return -11 * step


# --- the parts of an envelope -------------------------------------------------------------------------------------


def _opened(envelope: Envelope) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Its headers, its properties and itself."""
    if envelope.size > len(envelope.text):
        raise Foreign(f"it is too large, with {envelope.size:,} bytes")
    try:
        found = json.loads(envelope.text)
    except (ValueError, RecursionError):
        raise Foreign("it is not JSON") from None
    headers = found.get("headers") if type(found) is dict else None
    if type(headers) is not dict:
        raise Foreign("it is no envelope of kombu: it has no headers")
    properties = found.get("properties")
    return headers, properties if type(properties) is dict else {}, found


def _name(headers: Mapping[str, Any]) -> str:
    if "task" not in headers or "id" not in headers:
        raise Foreign("its headers have no task and id, as of protocol 2 (task_protocol = 2 in the Celery app)")
    name = headers["task"]
    if type(name) is not str or not 0 < len(name) <= 255 or not name.isprintable():
        raise Foreign("the name of its task is none")
    return name


def _body(found: Mapping[str, Any], headers: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    kind, encoding, body = found.get("content-type"), found.get("content-encoding"), found.get("body")
    if kind != "application/json":
        remedy = "only JSON is read here (task_serializer = 'json' in the Celery app)"
        raise Foreign(f"its content type is {str(kind)[:100]!r}, and {remedy}")
    if headers.get("compression"):
        raise Foreign("its body is compressed (take task_compression out of the Celery app)")
    if encoding not in (None, "", "utf-8", "us-ascii") or type(body) is not str:
        raise Foreign("its body is no text in utf-8")
    if properties.get("body_encoding") != "base64":
        return body
    try:
        return a2b_base64(body).decode()
    except ValueError:
        raise Foreign("its body is no text in utf-8") from None


def _priority(given: Any, step: int) -> int:
    """Ours is finer than the lists; one that does not fit the list was written by nobody of us."""
    return given if type(given) is int and -100 <= given <= 100 and step_of(given) == step else priority_of(step)


def _tries(headers: Mapping[str, Any]) -> int:
    retries = headers.get("retries") or 0
    if type(retries) is not int or not 0 <= retries <= MOST_TRIES:
        raise Foreign("its retries are no number")
    return retries


def _headers(id_: str, headers: Mapping[str, Any], stored: Any) -> str:
    """The headers of the job: those that we have sent, or what the sender has added to Celery's."""
    kept: dict[str, Any] = dict(stored) if type(stored) is dict else {}
    if more := {key: value for key, value in headers.items() if key not in HEADERS and value is not None}:
        metadata = kept.get("metadata")
        kept["metadata"] = {**more, **(metadata if type(metadata) is dict else {})}
    if headers["id"] != id_:
        kept["celery_id"] = headers["id"]
    try:
        return orjson.dumps(kept).decode() if kept else ""
    except (TypeError, RecursionError):
        raise Foreign("its headers have what cannot be kept as JSON") from None


def _shown(value: Any) -> str:
    return _repr().repr(value)[:LONGEST_REPR]


@cache
def _repr() -> Repr:
    shown = Repr()
    shown.maxstring = shown.maxother = shown.maxlong = 200
    shown.maxtuple = shown.maxlist = shown.maxdict = 50
    return shown
