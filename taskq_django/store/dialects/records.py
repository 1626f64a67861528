"""Jobs and what came of them as the JSON objects that statements read; ages in microseconds before ``now``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from ...jobs import Discarded, Ended, Failed, Job, Released, Retried, Succeeded
from ...states import State

SUCCESSFUL = State.SUCCESSFUL.value  # an Enum's value is looked up anew each time


def job_record(job: Job) -> dict[str, Any]:
    """A job as the JSON object that ``insert`` statements read.

    In all of these what may be large is last: MariaDB looks for each key from the beginning of its object.
    """
    record = {
        "id": job.id,
        "task_path": job.task_path,
        "backend": job.backend,
        "queue_name": job.queue_name,
        "rank": -job.priority,
        "run_after": job.run_after,
        "delay": job.delay_us,
        "expires": job.expires_us,
        "headers": job.headers,
        "tries": job.tries,
        "payload": job.payload,
    }
    if job.has_lived:
        record |= {"attempts": job.attempts, "crashes": job.crashes, "losses": job.losses}
        for name, moment in (("enqueued", job.enqueued_at), ("started", job.started_at)):
            record[name] = in_microseconds(moment)
        record["payload"] = record.pop("payload")
    return record


def ended_record(outcome: Ended, now: float) -> dict[str, Any]:
    """The end of a job as the JSON object that ``end`` statements read; ages in microseconds before ``now``.

    ``began``: None where its start does not count.
    """
    value = outcome.value if type(outcome) is Succeeded else None
    record: dict[str, Any] = {
        "id": outcome.claim.job.id,
        "token": outcome.claim.receipt,
        "status": SUCCESSFUL,
        "began": int((now - outcome.started) * 1e6),
        "ended": int((now - outcome.ended) * 1e6),
        "tried": 0,
        "crashed": 0,
        "keep": value is not None or type(outcome) is not Succeeded,
        "class": "",
        "message": "",
        "value": value,
    }
    match outcome:
        case Succeeded():  # as most do: it is all said
            return record
        case Failed():
            record["status"] = State.FAILED.value
            record["tried"] = int(outcome.counts == "tries")
            record["crashed"] = int(outcome.counts == "crashes")
            record["class"] = outcome.failure.exception_class
            record["message"] = outcome.failure.message
        case Discarded():
            record["status"] = outcome.state.value
            record["message"] = outcome.reason
            if not outcome.began:
                record["began"] = None
    return record


def put_back_record(outcome: Retried | Released) -> dict[str, Any]:
    """A job that goes back to its queue, as the JSON object that ``put_back`` statements read."""
    counts = outcome.counts if isinstance(outcome, Retried) else ""
    began = outcome.began if isinstance(outcome, Released) else True
    return {
        "id": outcome.claim.job.id,
        "token": outcome.claim.receipt,
        "tried": int(counts == "tries"),
        "crashed": int(counts == "crashes"),
        "lost": int(counts == "losses"),
        "began": int(began),
        # It has begun from this row, which therefore stands in for no message any more. Of a lost host nobody knows.
        "own": int(began and counts != "losses"),
        "delay": int(outcome.delay * 1e6),
    }


def result_record(outcome: Ended, now: float) -> dict[str, Any]:
    """The end of a message, of which no row has anything, as the JSON object of its result.

    ``ends``: a row of it goes.
    """
    job, end = outcome.claim.job, ended_record(outcome, now)
    if not end["keep"]:
        return {"id": job.id, "attempts": job.attempts, "ends": True, "keep": False}
    return {
        "id": job.id,
        "task_path": job.task_path,
        "backend": job.backend,
        "queue_name": job.queue_name,
        "priority": job.priority,
        "status": end["status"],
        "enqueued": in_microseconds(job.enqueued_at),
        "started": in_microseconds(job.started_at),
        "began": end["began"],
        "ended": end["ended"],
        "headers": job.headers,
        "tries": job.tries + end["tried"],
        "attempts": job.attempts,
        "crashes": job.crashes + end["crashed"],
        "ends": True,
        "keep": True,
        "class": end["class"],
        "message": end["message"],
        "value": end["value"],
        "payload": job.payload,
    }


def row_record(outcome: Retried | Released, now: float) -> dict[str, Any]:
    """A message that is to be run again, or later, as the JSON object of its row."""
    job, back = outcome.claim.job, put_back_record(outcome)
    began = None
    if back["began"]:
        began = int((now - outcome.started) * 1e6) if isinstance(outcome, Retried) else 0
    return {
        "id": job.id,
        "task_path": job.task_path,
        "backend": job.backend,
        "queue_name": job.queue_name,
        "rank": -job.priority,
        "enqueued": in_microseconds(job.enqueued_at),
        "started": in_microseconds(job.started_at),
        "began": began,
        "expires": job.expires_us if began is None else None,
        "delay": back["delay"],
        "tried": back["tried"],
        "headers": job.headers,
        "tries": job.tries + back["tried"],
        "attempts": job.attempts - (began is None),
        "crashes": job.crashes + back["crashed"],
        "losses": job.losses + back["lost"],
        "payload": job.payload,
    }


def failure_record(outcome: Failed | Retried, worker_id: str, now: float) -> dict[str, Any]:
    return {
        "id": outcome.claim.job.id,
        "number": outcome.claim.attempt,
        "worker": worker_id,
        "began": int((now - outcome.started) * 1e6),
        "ended": int((now - outcome.ended) * 1e6),
        "class": outcome.failure.exception_class,
        "message": outcome.failure.message,
        "traceback": outcome.failure.traceback,
    }


def in_microseconds(moment: float) -> int | None:
    return round(moment * 1e6) if moment else None


def as_json(records: Sequence[dict[str, Any]] | dict[str, Any]) -> str:
    """One text parameter for a whole group: the cheapest way into the server (arrays cost twice, VALUES thrice)."""
    return orjson.dumps(records).decode()
