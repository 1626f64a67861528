"""Which ends of jobs the store knows of."""

from __future__ import annotations

from collections.abc import Sequence

from ..jobs import Claim, Discarded, Failed, Outcome, Released, Retried, Succeeded
from ..models import JobAttempt, JobResult, QueuedJob
from ..states import WAITING, State
from .stories import Standing

ENDS_AS = {Succeeded: State.SUCCESSFUL, Failed: State.FAILED}


def written(claims: Sequence[Claim], database: str) -> set[str]:
    """The ids of those messages of which the store knows how this attempt or a later one ended.

    By a result, by an attempt that failed (a retry may have ended since and kept no result), or by a row that is a job
    of its own. A row with a sender says nothing, whatever its status: it stands in for the message. One statement.
    """
    attempts = {claim.job.id: claim.attempt for claim in claims}
    ids = list(attempts)
    own = QueuedJob.objects.using(database).filter(id__in=ids, sender__isnull=True)
    ended = JobResult.objects.using(database).filter(id__in=ids)
    failed = JobAttempt.objects.using(database).filter(job_id__in=ids)
    found = (
        own.order_by()
        .values_list("id", "attempts")
        .union(
            ended.order_by().values_list("id", "attempts"),
            failed.order_by().values_list("job_id", "number"),
            all=True,
        )
    )
    return {id_ for key, number in found if number >= attempts[id_ := str(key)]}


def is_the_end_of(standing: Standing | None, outcome: Outcome) -> bool:
    """Whether this is how a job stands that the outcome has written."""
    if standing is None:  # a success that keeps no result
        return isinstance(outcome, Succeeded) and outcome.value is None
    if isinstance(outcome, Released | Retried):
        uncounted = isinstance(outcome, Released) and not outcome.began
        return standing.status in WAITING and standing.attempts == outcome.claim.attempt - uncounted
    ends_as = outcome.state if isinstance(outcome, Discarded) else ENDS_AS[type(outcome)]
    return standing.status == ends_as and standing.attempts == outcome.claim.attempt
