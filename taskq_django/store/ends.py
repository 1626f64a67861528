"""Which ends of messages the store knows of."""

from __future__ import annotations

from collections.abc import Sequence

from ..jobs import Claim
from ..models import JobAttempt, JobResult, QueuedJob


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
