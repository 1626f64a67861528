"""Writes outcomes down, in groups, and tells the log what became of each job.

What the store refuses takes no other with it, and is not tried for ever.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, groupby

from .. import signals
from ..brokers import Broker
from ..exceptions import OutcomeRefused, in_print
from ..jobs import Discarded, Failed, Failure, Outcome, Released, Retried, Succeeded, log_fields, weight_of
from ..registry import registry
from ..store.weights import HEAVIEST, LIGHT, MOST_KEPT, cut
from .counting import Counting
from .crash_record import CrashRecord
from .failures import failure_of
from .held import Held
from .progress import ProgressNotes
from .reach import Reach

logger = logging.getLogger("taskq_django.task")


class Finisher:
    """Outcomes come in from any thread; the loop thread writes them."""

    def __init__(
        self,
        brokers: Mapping[str, Broker],
        reach: Reach,
        worker_id: str,
        record: CrashRecord | None = None,
        progress: ProgressNotes | None = None,
    ) -> None:
        self._brokers = brokers
        self.counting = Counting(brokers, reach, worker_id)
        self._reach = reach
        self._worker_id = worker_id
        self._record = record
        self._progress = progress or ProgressNotes()
        self.inbox: deque[Outcome] = deque()
        self._aside: dict[str, list[Outcome]] = {}  # by alias, what waits for a broker that is away
        self._lock = threading.Lock()
        self._waiting = dict.fromkeys(brokers, 0)  # by alias, the weight of all that waits, but for what is light
        self.mean_weight = 0.0  # of what comes of a job, of late
        self.ended = 0  # jobs that this process has ended
        self.unrun = 0  # claims for the pool that went back before they had begun
        self._unsure: set[str] = set()  # ids whose settle was not answered
        self._last_words: dict[str, Outcome] = {}  # by job id; loop thread only
        self.stale = 0  # outcomes that came after their claim was lost
        self.mean_run = 1.0  # seconds, of late; a first guess that asks for little
        self._logs_all = logger.isEnabledFor(logging.INFO)

    def take(self, outcome: Outcome) -> None:
        """An outcome has come. Any thread may call it."""
        if type(outcome) is not Succeeded or len(outcome.value or "") > LIGHT:
            with self._lock:
                self._waiting[outcome.claim.job.backend] += weight_of(outcome)
        self.inbox.append(outcome)  # last: what is taken from there has been counted

    def insist(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Settle these, and nothing that is said of their jobs later; returns them, but for those whose job has
        ended by itself meanwhile. Loop thread only.

        What runs until its process ends may come to an end beside it. No token tells two outcomes of a message apart:
        if both counted, a job that went back would have a result, too, and run again.
        """
        told = {outcome.claim.job.id for outcome in self.pending()}
        last = [outcome for outcome in outcomes if outcome.claim.job.id not in told]
        self._last_words |= {outcome.claim.job.id: outcome for outcome in last}
        self.inbox.extend(last)
        return last

    def is_full(self, alias: str) -> bool:
        """Do so many results wait for this store that nothing more should be begun for it?"""
        return self._waiting[alias] >= MOST_KEPT

    @property
    def has_a_group(self) -> bool:
        """Does what can be settled fill a group by its weight?"""
        return sum(weight for alias, weight in self._waiting.items() if alias not in self._aside) >= HEAVIEST

    def pending(self) -> list[Outcome]:
        """All that is not settled now. Others add to it meanwhile, so it is copied in one step."""
        return [*self.inbox.copy(), *chain(*self._aside.values())]

    @property
    def aside(self) -> int:
        """How many outcomes wait for brokers that are away. They need no seat any more."""
        return sum(map(len, self._aside.values()))

    def has_aside(self, job_id: str) -> bool:
        return any(outcome.claim.job.id == job_id for outcome in chain(*self._aside.values()))

    def take_up(self, alias: str) -> None:
        """This broker is to be tried: what waits for it is settled first."""
        self.inbox.extendleft(reversed(self._aside.pop(alias, [])))

    def flush(self, held: Held, group: int) -> bool:
        """Settle up to ``group`` outcomes, or fewer that are heavy, and forget their claims; was there any?

        Those of a broker that is away are put aside.
        """
        outcomes = [self.inbox.popleft() for _ in range(min(len(self.inbox), group))]
        if self._last_words:
            outcomes = [o for o in outcomes if self._last_words.get(o.claim.job.id, o) is o]
        if not self._reach.is_whole:
            outcomes = self._sift(outcomes)
        if not outcomes:
            return False
        weights = [weight_of(o) for o in outcomes]
        first = next(cut(outcomes, weights))
        if len(first) < len(outcomes):
            self.inbox.extendleft(reversed(outcomes[len(first) :]))
            outcomes, weights = list(first), weights[: len(first)]
        if ran := len(weights) - weights.count(0):
            self.mean_weight += (sum(weights) / ran - self.mean_weight) * 0.5
        for alias, each in groupby(sorted(outcomes, key=_alias), key=_alias):
            broker, theirs, counted = self._brokers[alias], list(each), None
            with self._reach.guard(broker):
                self._progress.write_last(broker, theirs)
                counted = settle(broker, theirs, self._worker_id, self._unsure)
            if counted is None:
                self._unsure.update(outcome.claim.job.id for outcome in theirs)
                self._aside.setdefault(alias, []).extend(theirs)
                continue
            if self._unsure:
                self._unsure.difference_update(outcome.claim.job.id for outcome in theirs)
            self._forget(counted, held)
            self.counting.add(alias, counted)
            self._put_down(alias, theirs)
            if len(counted) < len(theirs):
                self._note_stale(theirs, held)
        return True

    def _sift(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Put aside what is for a broker that is away; returns the rest."""
        here: list[Outcome] = []
        for outcome in outcomes:
            alias = _alias(outcome)
            (here if self._reach.has(alias) else self._aside.setdefault(alias, [])).append(outcome)
        return here

    def _forget(self, counted: list[Outcome], held: Held) -> None:
        held.drop([outcome.claim for outcome in counted])
        if self._record is not None and not self._record.is_clean:
            for path in {o.claim.job.task_path for o in counted if not isinstance(o, Released | Discarded)}:
                self._record.acquit(path)
        hears_results = bool(signals.result_recorded.receivers)
        for outcome in counted:
            if not isinstance(outcome, Released):
                self.mean_run += (outcome.ended - outcome.started - self.mean_run) * 0.05
                if not isinstance(outcome, Retried):
                    self.ended += 1
            elif not outcome.is_kept:
                self.unrun += 1
            if self._logs_all or isinstance(outcome, (Failed, Retried)):
                log_end(outcome)
            if hears_results and not isinstance(outcome, Released):
                signals.result_recorded.announce(_function_of(outcome), outcome=outcome)

    def _put_down(self, alias: str, gone: list[Outcome]) -> None:
        """They wait here no more."""
        if self._waiting[alias]:
            weight = sum(weight_of(o) for o in gone if type(o) is not Succeeded or len(o.value or "") > LIGHT)
            with self._lock:
                self._waiting[alias] -= weight

    def _note_stale(self, outcomes: list[Outcome], held: Held) -> None:
        for outcome in outcomes:
            if held.drop([outcome.claim]):
                self.stale += 1
                job = outcome.claim.job
                logger.warning(
                    "lost task=%s id=%s: this worker no longer held it, so its outcome was dropped",
                    job.task_path,
                    job.id,
                    extra=log_fields(outcome.claim, event="lost"),
                )


# For a job whose end the store refuses, and the reason too.
WITHOUT_TEXTS = "The store refused what came of this job, and the reason. The log of the worker has both."


def settle(broker: Broker, outcomes: Sequence[Outcome], worker_id: str, unsure: Collection[str] = ()) -> list[Outcome]:
    """As the broker's, but for OutcomeRefused: one that is refused ends its job as FAILED, if that is taken."""
    try:
        return broker.settle(outcomes, worker_id, unsure)
    except OutcomeRefused as error:
        if len(outcomes) > 1:
            half = len(outcomes) // 2
            parts = (outcomes[:half], outcomes[half:])
            # What is of another place than the one that is refused may be written.
            perhaps = {*unsure, *(outcome.claim.job.id for outcome in outcomes)}
            return [outcome for part in parts for outcome in settle(broker, part, worker_id, perhaps)]
        return _fail(broker, outcomes[0], worker_id, error)


def _fail(broker: Broker, refused: Outcome, worker_id: str, error: OutcomeRefused) -> list[Outcome]:
    """The reason may be refused too, for its texts or for those of attempts before: then words of our own must do."""
    logger.error("The store refused what came of job %s", refused.claim.job.id, exc_info=error)
    if isinstance(refused, Released):
        return []
    failure = failure_of(error)
    for said in (failure, Failure(failure.exception_class, WITHOUT_TEXTS, "")):
        with suppress(OutcomeRefused):
            return broker.settle([Failed(refused.claim, refused.started, refused.ended, said)], worker_id)
    logger.error("Nor can job %s end as FAILED: it stays as it is until its process has ended", refused.claim.job.id)
    return []


def log_end(outcome: Outcome) -> None:
    """One line per end: INFO for a job's life, ERROR when somebody must look.

    ``event`` is the message for who reads the fields, which have the facts too.
    """
    claim = outcome.claim
    job = claim.job
    if isinstance(outcome, Released):
        said = f"put_off={outcome.delay:.1f}s" if outcome.delay else "released"
        logger.info("%s task=%s id=%s", said, in_print(job.task_path), job.id, extra=log_fields(claim, event=said))
        return
    run = outcome.ended - outcome.started
    names = f"task={in_print(job.task_path)} id={job.id} queue={in_print(job.queue_name)}"
    facts = f"{names} attempt={claim.attempt}"
    facts += f" wait={max(0.0, claim.waited):.3f}s run={run:.3f}s"
    fields = log_fields(claim, wait=claim.waited, run=run)
    match outcome:
        case Succeeded():
            logger.info("succeeded %s", facts, extra=fields | {"event": "succeeded"})
        case Discarded():
            event = outcome.state.lower()
            fields |= {"event": event, "reason": outcome.reason}
            logger.info("%s %s reason=%r", event, facts, outcome.reason, extra=fields)
        case Retried():
            error = str(outcome.failure)
            fields |= {"event": "retried", "retry_in": outcome.delay, "error": error}
            logger.warning("retry_in=%.1fs %s error=%r", outcome.delay, facts, error, extra=fields)
        case Failed():
            error, traceback = str(outcome.failure), outcome.failure.traceback.rstrip()
            fields |= {"event": "failed", "error": error, "traceback": traceback}
            logger.error("failed %s error=%r\n%s", facts, error, traceback, extra=fields)


def _alias(outcome: Outcome) -> str:
    return outcome.claim.job.backend


def _function_of(outcome: Outcome) -> object:
    task = registry.get(outcome.claim.job.task_path)
    return task.func if task is not None else None
