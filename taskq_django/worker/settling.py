"""Has it written down what came of claims. What the store refuses takes no other with it, and is not tried for ever."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from ..brokers import Broker
from ..exceptions import OutcomeRefused
from ..jobs import Failed, Outcome, Released
from .failures import failure_of

logger = logging.getLogger("taskq_django.task")


def settle(broker: Broker, outcomes: Sequence[Outcome], worker_id: str, unsure: Collection[str] = ()) -> list[Outcome]:
    """As the broker's, but for OutcomeRefused: one that is refused ends its job as FAILED, if that is taken."""
    try:
        return broker.settle(outcomes, worker_id, unsure)
    except OutcomeRefused as error:
        if len(outcomes) > 1:
            half = len(outcomes) // 2
            parts = (outcomes[:half], outcomes[half:])
            return [outcome for part in parts for outcome in settle(broker, part, worker_id, unsure)]
        return _fail(broker, outcomes[0], worker_id, error)


def _fail(broker: Broker, refused: Outcome, worker_id: str, error: OutcomeRefused) -> list[Outcome]:
    logger.error("The store refused what came of job %s", refused.claim.job.id, exc_info=error)
    if isinstance(refused, Released):
        return []
    try:
        return broker.settle([Failed(refused.claim, refused.started, refused.ended, failure_of(error))], worker_id)
    except OutcomeRefused:
        logger.exception("Nor can job %s end as FAILED", refused.claim.job.id)
        return []
