"""The signals of jobs whose process has died before it could send them."""

from __future__ import annotations

from collections.abc import Sequence

from .. import exceptions, signals
from ..exceptions import TaskqError
from ..jobs import Failed, Outcome, Released, Retried
from ..registry import registry

HOOKS = (signals.run_failed, signals.run_retried, signals.after_run, signals.result_recorded)


def is_heard() -> bool:
    return any(hook.receivers for hook in HOOKS)


def announce(outcomes: Sequence[Outcome]) -> None:
    """Send what the process that ran them would have sent, now that the store has it."""
    for outcome in outcomes:
        if isinstance(outcome, Released):
            continue
        claim = outcome.claim
        task = registry.seek(claim.job.task_path)
        sender = task.func if task is not None else None
        if isinstance(outcome, Failed | Retried):
            hook = signals.run_failed if isinstance(outcome, Failed) else signals.run_retried
            hook.announce(sender, claim=claim, outcome=outcome, exception=_exception_of(outcome))
        signals.after_run.announce(sender, backwards=True, claim=claim, outcome=outcome)
        signals.result_recorded.announce(sender, outcome=outcome)


def _exception_of(outcome: Failed | Retried) -> BaseException:
    """A WorkerLost or TaskTimeout that nobody raised."""
    kind = getattr(exceptions, outcome.failure.exception_class.rpartition(".")[2], TaskqError)
    return kind(outcome.failure.message)
