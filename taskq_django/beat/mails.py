"""Mail to ADMINS about jobs that failed for good: one in a while, however many these are.

It is a task of ours with a schedule of ours, so one mail is sent for all workers and beats of a database, its own
failures have a story, and it is seen and switched off in the admin like any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from django.core.mail import mail_admins
from django.db.models import Max, Q

from ..backend import brokers_of, databases_of, home, our_backends
from ..conf import taskq_settings
from ..exceptions import counted, in_print
from ..models import JobAttempt, JobResult, ScheduleRun
from ..models.moments import as_orm_has, aware, database_now
from ..results import TaskContext
from ..schedules.declaring import every
from ..states import State
from ..tasks import Task, task

NAME = "Mail to ADMINS"
# What ended so long ago has been committed, unless the store was away; and so much apart attempts may be numbered.
LATE = timedelta(seconds=60)
AT_ONCE = 1000  # rows of one question
MOST = 100_000  # failed attempts that one mail looks at
MAILS = 100  # of which one has surely been sent, or the last slot counts instead
SHOWN = 20  # kinds of failures
LONGEST = 200  # characters of a message


@dataclass(slots=True)
class Kind:
    """Failures of one task by one exception."""

    task_path: str
    exception_class: str
    count: int = 0
    last_at: datetime | None = None
    last_id: str = ""
    message: str = ""

    def add(self, id_: UUID, at: datetime, message: str) -> None:
        """``at``: as the ORM has it."""
        self.count += 1
        if self.last_at is None or at > self.last_at:
            self.last_at, self.last_id, self.message = at, str(id_), message


def declare(seconds: float) -> Task[..., Any] | None:
    """The task of this project, with its schedule; None where no backend is ours."""
    place = home()
    if place is None:
        return None
    alias, queue_name = place
    return task(
        takes_context=True,
        backend=alias,
        queue_name=queue_name,
        max_attempts=5,  # a mail server may be away for a while
        timeout=120,  # or say nothing, and Django waits for it without end
        schedulable=False,
        schedule=every(seconds=int(seconds), name=NAME, overlap="skip"),  # the next one begins where this one ends
    )(mail_failures)


@dataclass(frozen=True, slots=True)
class Span:
    """What one mail tells: the failures of this time, and earlier ones that were stored since the mail before."""

    since: datetime
    until: datetime
    seen: Mapping[str, int]  # by database, the last attempt that was there for the mail before


def mail_failures(context: TaskContext) -> dict[str, Any]:
    """Tell the ADMINS which jobs have failed for good since the last time. No mail where none has.

    Returns how many, and where the next mail goes on.
    """
    span = _span(context)
    kinds: dict[tuple[str, str], Kind] = {}
    databases = databases_of(brokers_of(our_backends()).values())
    # What comes while it looks is the next one's.
    there = {each: JobAttempt.objects.using(each).aggregate(last=Max("id"))["last"] or 0 for each in databases}
    since = span.since
    for path, exception, id_, at, message in chain.from_iterable(_failures(each, span, there[each]) for each in there):
        kinds.setdefault((path, exception), Kind(path, exception)).add(id_, at, message)
        since = min(since, aware(at).astimezone(UTC))
    count = sum(kind.count for kind in kinds.values())
    if count:
        mail_admins(f"{counted(count, 'job')} failed for good", _body(list(kinds.values()), since, span.until))
    return {"failures": count, "until": span.until.isoformat(), "seen": there}


def _span(context: TaskContext) -> Span:
    """From where the last mail ended, or else from the slot before, to its own slot; both some time ago."""
    result = context.task_result
    database = result.task.get_backend().broker.database  # type: ignore[attr-defined]
    slot = (context.slot or database_now(database)).astimezone(UTC)
    ours = ScheduleRun.objects.using(database).filter(job_id=result.id).values("schedule")
    before = ScheduleRun.objects.using(database).filter(schedule__in=ours, slot__lt=as_orm_has(slot), by_hand=False)
    slots = {job_id: at for at, job_id in before.order_by("-slot").values_list("slot", "job_id")[:MAILS]}
    sent = JobResult.objects.using(database).filter(id__in=list(slots), status=State.SUCCESSFUL)
    told = dict(sent.values_list("id", "return_value"))
    for job_id in slots:  # the newest first
        with suppress(KeyError, TypeError, ValueError):  # an older release has returned a text
            last = json.loads(told[job_id] or "")
            return Span(datetime.fromisoformat(last["until"]), slot - LATE, dict(last["seen"]))
    newest = aware(next(iter(slots.values()), None))
    since = newest.astimezone(UTC) if newest else slot - timedelta(seconds=taskq_settings().beat.mail_failures or 0)
    return Span(since - LATE, slot - LATE, {})


def _failures(database: str, span: Span, last: int) -> Iterator[tuple[str, str, UUID, datetime, str]]:
    """Task, exception, id, end and message of each job that ended so. By the attempts, which are numbered as they are
    stored: a result has no index of its end.

    After an outage results are stored long after their ends. They are found by the numbers that are new since the mail
    before; one that a slower transaction commits below these numbers, at the moment of that mail, is not.
    """
    newest = JobAttempt.objects.using(database).order_by("-id").values_list("id", "job_id", "finished_at")
    told: set[UUID] = set()
    seen, below = span.seen.get(database, last), last + 1
    for _ in range(MOST // AT_ONCE):
        attempts = list(newest.filter(id__lt=below)[:AT_ONCE])
        ids = {job_id for _, job_id, _ in attempts} - told
        told |= ids
        late = Q(id__in={job_id for number, job_id, _ in attempts if number > seen})
        ended = JobResult.objects.using(database).filter(
            late | Q(finished_at__gte=as_orm_has(span.since)),
            id__in=ids,
            status=State.FAILED,
            finished_at__lt=as_orm_has(span.until),
        )
        yield from ended.values_list("task_path", "exception_class", "id", "finished_at", "message")
        if len(attempts) < AT_ONCE:
            return
        below = attempts[-1][0]
        if below <= seen and max(aware(at) for _, _, at in attempts) < span.since - LATE:
            return


def _body(kinds: list[Kind], since: datetime, until: datetime) -> str:
    kinds.sort(key=lambda kind: (-kind.count, kind.task_path, kind.exception_class))
    lines = [f"From {since:%Y-%m-%d %H:%M:%S} to {until:%Y-%m-%d %H:%M:%S} UTC these jobs have failed for good:", ""]
    for kind in kinds[:SHOWN]:
        message = in_print(kind.message.partition("\n")[0][:LONGEST])
        exception = in_print(kind.exception_class.removeprefix("builtins."))
        lines.append(f"{kind.count:>8,}  {in_print(kind.task_path)}  {exception}")
        lines.append(
            f"          the last one: {kind.last_id}, {aware(kind.last_at).astimezone(UTC):%H:%M:%S}: {message}"
        )
    if len(kinds) > SHOWN:
        lines.append(f"and {counted(len(kinds) - SHOWN, 'more kind')} of failures")
    lines += [
        "",
        "Each has its traceback in the admin, under Results. Once the cause is gone, run them again:",
        f"manage.py taskq_retry --failed --task {in_print(kinds[0].task_path)}",
    ]
    return "\n".join(lines)
