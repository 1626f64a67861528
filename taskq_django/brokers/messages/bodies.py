"""A job as the bytes that an engine carries, and back. What an engine gives may be by another hand."""

from __future__ import annotations

import re
from typing import Any

import orjson

from ...jobs import Job

VERSION = 1
LONGEST_SHOWN = 4096  # characters of what cannot be read
_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch  # four times as fast as uuid.UUID


class Unreadable(Exception):
    """These bytes are no job. The text says why, and shows their beginning."""


class NewerVersion(Exception):
    """This was written by a release after ours, which alone knows what it means."""


def pack(job: Job) -> bytes:
    """A JSON object; what is as usual is left out. Not its times: the engine's clock gives these."""
    body: dict[str, Any] = {"v": VERSION, "task": job.task_path, "queue": job.queue_name, "args": job.payload}
    if job.priority:
        body["priority"] = job.priority
    if job.headers:
        body["headers"] = job.headers
    if job.expires_us is not None:
        body["expires"] = job.expires_us
    return orjson.dumps(body)


def unpack(id_: str, body: bytes, backend: str, enqueued_at: float = 0.0) -> Job:
    """The job of a message that is claimed for its first start. Keys that are unknown are passed over.

    Raises Unreadable, and NewerVersion.
    """
    try:
        found = orjson.loads(body)
        version = found["v"]
        if type(version) is int and version > VERSION:
            raise NewerVersion(f"Job {id_} is a message of version {version}, and this release reads {VERSION}.")
        job = Job(
            id_,
            found["task"],
            found["args"],
            backend,
            found["queue"],
            found.get("priority", 0),
            found.get("headers", ""),
            attempts=1,
            enqueued_at=enqueued_at,
            expires_us=found.get("expires"),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unreadable(_shown(body, repr(error))) from error
    if problem := _problem(job):
        raise Unreadable(_shown(body, problem))
    return job


def _problem(job: Job) -> str:
    if not _ID(job.id):
        return "its id is no UUID as ours are written"
    task, payload, queue, headers = job.task_path, job.payload, job.queue_name, job.headers
    if not (type(task) is type(payload) is type(queue) is type(headers) is str):
        return "a text of it is none"
    if "\0" in task or "\0" in payload or "\0" in queue or "\0" in headers:
        return "a text of it has a NUL"
    if len(task) > 255 or len(queue) > 64:
        return "the name of its task or queue is too long"
    if type(job.priority) is not int or not -100 <= job.priority <= 100:
        return "its priority is none"
    if job.expires_us is not None and type(job.expires_us) is not int:
        return "its expiry is none"
    return ""


def _shown(body: bytes, problem: str) -> str:
    text = body[:LONGEST_SHOWN].decode("utf-8", "backslashreplace").replace("\0", "\\x00")
    return f"This message is no job of taskq_django: {problem[:200]}. It begins: {text}"
