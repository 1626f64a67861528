"""Jobs for tests of brokers, made past the client."""

from __future__ import annotations

from taskq_django.jobs import Claim, Failure, Job, new_id

FAILURE = Failure("builtins.ValueError", "no", "Traceback …\nValueError: no\n")


def job(**changes: object) -> Job:
    given = {
        "id": new_id(),
        "task_path": "tests.app.tasks.add",
        "payload": "[[1],{}]",
        "backend": "default",
        "queue_name": "default",
    }
    return Job(**{**given, **changes})  # type: ignore[arg-type]


def unused_name() -> str:
    """For the jobs of one test in a Redis: what looks for an engine that was away may outlive its test."""
    return f"test-{new_id()}"


def as_sent(claim: Claim) -> Job:
    """The job without what the broker has added."""
    return claim.job._replace(attempts=0, enqueued_at=0.0)
