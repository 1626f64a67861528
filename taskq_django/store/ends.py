"""Which ends of jobs the store knows of."""

from __future__ import annotations

from collections.abc import Sequence

from ..jobs import Claim, Discarded, Failed, Outcome, Released, Retried, Succeeded
from ..models import JobAttempt, JobResult, QueuedJob
from ..states import WAITING, State
from .stories import Standing

ENDS_AS = {Succeeded: State.SUCCESSFUL, Failed: State.FAILED}


def written(claims: Sequence[Claim], database: str) -> set[str]:
    """The ids of those messages of which the store knows what came.

    By a result, by an attempt that failed (a retry may have ended since and kept no result), or by a row that is a job
    of its own, also of no attempt: somebody runs a job again that has ended before it began. A row with a sender says
    nothing, whatever its status: it stands in for the message. One statement.
    """
    ids = [claim.job.id for claim in claims]
    own = QueuedJob.objects.using(database).filter(id__in=ids, sender__isnull=True).order_by().values_list("id")
    ended = JobResult.objects.using(database).filter(id__in=ids).order_by().values_list("id")
    failed = JobAttempt.objects.using(database).filter(job_id__in=ids).order_by().values_list("job_id")
    return {str(id_) for (id_,) in own.union(ended, failed, all=True)}


def is_the_end_of(standing: Standing | None, outcome: Outcome) -> bool:
    """Whether this is how a job stands that the outcome has written."""
    if standing is None:  # a success that keeps no result
        return isinstance(outcome, Succeeded) and outcome.value is None
    uncounted = isinstance(outcome, Released | Discarded) and not outcome.began
    if standing.attempts != outcome.claim.attempt - uncounted:
        return False
    if isinstance(outcome, Released | Retried):
        return standing.status in WAITING
    return standing.status == (outcome.state if isinstance(outcome, Discarded) else ENDS_AS[type(outcome)])
