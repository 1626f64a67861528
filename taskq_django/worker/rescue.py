"""What becomes of the jobs that a dead process held. Called by supervisors: runs nothing of the project's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ..backoff import Backoff
from ..brokers import Broker
from ..exceptions import PayloadError
from ..jobs import Claim, Counter, Discarded, Failed, Failure, Outcome, Released, Retried
from ..registry import registry
from ..states import State
from ..tasks import Task
from .crash_record import CrashRecord
from .failures import failure_of
from .finisher import log_end, settle

logger = logging.getLogger("taskq_django.worker")

# A job that was running when so many processes died has ended: it is taken for the cause.
MOST_CRASHES = 3
# Of a lost host nobody knows what was running, nor why it went: a deploy or a power cut blames no job so soon. Nor
# is a job to blame whose run was over.
MOST_LOSSES = 10

LOST = "taskq_django.exceptions.WorkerLost"
TIMED_OUT = "taskq_django.exceptions.TaskTimeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a process ended. ``begun`` is None where nobody knows what it ran: its host is lost."""

    cause: str  # for people: "signal SIGKILL"
    begun: Collection[str] | None  # ids of the jobs that were running
    over: Collection[str] = ()  # ids of those whose runs were over, and whose outcomes may not be stored
    is_ours: bool = False  # killed by its supervisor, which was stopping: no job is to blame
    overdue: Collection[str] = ()  # ids of those that were running beyond their time limit


Tell = Callable[[Sequence[Outcome]], None]  # is given the outcomes that are in the store now


def rescue(
    broker: Broker,
    worker_id: str,
    death: Death,
    heir: str,
    in_store: bool = False,
    record: CrashRecord | None = None,
    tell: Tell = lambda outcomes: None,
) -> int:
    """Settle everything that a dead process holds; returns how many jobs that were. Raises BrokerUnavailable.

    ``heir``: the id of the process that does it. ``in_store``: only what is there, for which no engine is asked.
    ``record``: is told of the tasks that were running.
    """
    count = 0
    while held := broker.orphans(heir, worker_id, in_store).get(worker_id):
        settled = settle_dead(broker, worker_id, held, death, record, tell)
        count += settled
        if settled == 0:
            break  # others were faster, or the store refuses what is left
    return count


def settle_dead(
    broker: Broker,
    worker_id: str,
    held: Collection[tuple[Claim, float]],
    death: Death,
    record: CrashRecord | None = None,
    tell: Tell = lambda outcomes: None,
) -> int:
    """Write down what came of these claims; the token of each guards it."""
    outcomes = [outcome_of(claim, age, death) for claim, age in held]
    counted = settle(broker, outcomes, worker_id)
    if record is not None:
        crashed = [o for o in counted if isinstance(o, Failed | Retried) and o.counts == "crashes"]
        record.accuse({outcome.claim.job.task_path for outcome in crashed}, worker_id)
    for outcome in counted:
        log_end(outcome)
    tell(counted)
    return len(counted)


def outcome_of(claim: Claim, age: float, death: Death) -> Outcome:
    """``age``: seconds since it was claimed."""
    now = monotonic()
    id_, task = claim.job.id, registry.get(claim.job.task_path)
    runs_once = claim.has_begun or (task is not None and not task.rerun_on_crash)
    if not _may_have_begun(claim, runs_once, death):
        return Released(claim, began=False)
    if claim.verdict == State.FAILED:
        return Failed(claim, now - age, now, failure_of(PayloadError(claim.reason)))
    if claim.verdict:
        reason = claim.reason or f"{claim.verdict.lower()}; its process has ended"
        # One that was cancelled may have been running when that was asked for.
        began = claim.verdict != State.EXPIRED
        return Discarded(claim, now - age, now, State(claim.verdict), reason, began)
    if id_ in death.overdue:
        return _timed_out(claim, now - age, now, task)
    if death.is_ours and not runs_once:
        return Released(claim, began=True)
    is_blamed = death.begun is not None and id_ in death.begun
    what = "its process was lost" if id_ not in death.over else "its process was lost before its outcome was stored"
    failure = Failure(LOST, f"{what}: {death.cause}", "")
    counts: Counter = "crashes" if is_blamed else "losses"
    before, most = (claim.job.crashes, MOST_CRASHES) if is_blamed else (claim.job.losses, MOST_LOSSES)
    if runs_once or before + 1 >= most:
        return Failed(claim, now - age, now, failure, counts)
    return Retried(claim, now - age, now, failure, 0.0, counts)


def _may_have_begun(claim: Claim, runs_once: bool, death: Death) -> bool:
    """Of a lost host only the store knows it, and only of jobs that must not run twice."""
    if death.begun is None:
        return claim.has_begun or not runs_once
    return claim.job.id in death.begun or claim.job.id in death.over


def _timed_out(claim: Claim, started: float, ended: float, task: Task[..., Any] | None) -> Outcome:
    """A run that kept its whole process from going on. Its own backoff, if a function, is not asked here."""
    failure = Failure(TIMED_OUT, "ran longer than its timeout, and its process had to be killed", "")
    tries = claim.job.tries + 1
    if task is None or tries >= task.attempts_allowed:
        return Failed(claim, started, ended, failure)
    backoff = task.backoff if isinstance(task.backoff, Backoff) else Backoff()
    return Retried(claim, started, ended, failure, backoff.seconds(tries))
