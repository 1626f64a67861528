"""What somebody should look at now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from django.db import router
from django.db.models import Count
from django.utils.translation import gettext as _t
from django.utils.translation import ngettext

from ...conf import queue_name_problem
from ...models import Schedule
from ...status import Status
from ...store.connections import OUTAGE
from .. import display
from ..schedules.beats import START_ONE, missing_text
from ..schedules.filters import ScheduleStateFilter
from .queues import Row

QUEUES_NAMED = 5


@dataclass(frozen=True, slots=True)
class Banner:
    """``is_bad``: nothing goes on meanwhile; ``command``: what to type."""

    text: str
    is_bad: bool = True
    command: str = ""
    url: str = ""


def banners(
    status: Status, queues: Iterable[Row], problems: Iterable[str], list_url: Callable[[str], str]
) -> list[Banner]:
    """``list_url``: of the list of schedules in this state; "" where it is not to be seen."""
    found = [Banner(problem) for problem in problems]
    found += [Banner(f"{alias}: {why}") for alias, why in status.unanswered.items()]
    found += _of_workers(status)
    if any(worker.alive for worker in status.workers):
        found += _of_queues(queues)
    found += _of_beats(status)
    has_beat = not any(beat.is_missing for beat in status.beats)
    return [*found, *_of_schedules(list_url, has_beat=has_beat)]


def _of_workers(status: Status) -> Iterator[Banner]:
    alive = [worker for worker in status.workers if worker.alive]
    unable = [worker.name for worker in alive if worker.serving == 0]
    if not alive:
        text = _t("No worker is alive.")
        if count := status.ready:
            text = ngettext(
                "No worker is alive, and %(count)d job waits.", "No worker is alive, and %(count)d jobs wait.", count
            ) % {"count": count}
        yield Banner(text, command="python manage.py taskq_worker")
    elif unable:
        yield Banner(
            _t("No process of %s can run jobs: see the log of the worker.")
            % display.isolated(", ".join(unable[:QUEUES_NAMED]))
        )


def _of_queues(queues: Iterable[Row]) -> Iterator[Banner]:
    deserted = [row.status.queue for row in queues if row.is_deserted]
    if deserted:
        named = display.isolated(", ".join(deserted[:QUEUES_NAMED]) + (" …" if len(deserted) > QUEUES_NAMED else ""))
        text = ngettext(
            "Jobs wait in a queue that no worker serves: %s.",
            "Jobs wait in queues that no worker serves: %s.",
            len(deserted),
        )
        # What is to be typed has no name in it that another hand may have made up.
        usable = [name for name in deserted if queue_name_problem(name) is None][:QUEUES_NAMED]
        yield Banner(text % named, command=f"python manage.py taskq_worker -Q {','.join(usable)}" if usable else "")


def _of_beats(status: Status) -> Iterator[Banner]:
    for beat in status.beats:
        if beat.is_missing:
            text = missing_text(beat)
            yield Banner(text if len(status.beats) == 1 else f"{beat.database}: {text}", command=START_ONE)


def _of_schedules(list_url: Callable[[str], str], *, has_beat: bool) -> Iterator[Banner]:
    conditions = {state: ScheduleStateFilter.conditions[state][1] for state in ("broken", "overdue")}
    counts = {state: Count("pk", filter=condition) for state, condition in conditions.items()}
    rows = Schedule.objects.using(router.db_for_read(Schedule)).filter(enabled=True, is_finished=False)
    try:
        found = rows.aggregate(**counts)
    except OUTAGE:  # the status has said so
        return
    broken, overdue = found["broken"], found["overdue"]
    if overdue:
        text = ngettext(
            "%(count)d schedule is overdue.",
            "%(count)d schedules are overdue.",
            overdue,
        ) % {"count": overdue}
        if has_beat:
            text = f"{text} {_t('A beat is alive: its log says what keeps it from firing them.')}"
        yield Banner(text, url=list_url("overdue"))
    if broken:
        text = ngettext("%(count)d schedule is broken.", "%(count)d schedules are broken.", broken) % {"count": broken}
        yield Banner(text, is_bad=False, url=list_url("broken"))
