"""The page of one job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..jobs import headers_of
from ..models import JobResult, QueuedJob, Schedule
from ..registry import registry
from ..states import LIVE, WAITING, State
from ..store.progress import read_progress
from ..store.stories import Story, read_stories
from . import display, timeline
from .again import may_enqueue_again
from .filters import is_cut, newest
from .finding import APP, may_view, page_after, store, story_for
from .job_verbs import VERBS, Chosen, act, may
from .masking import without_passwords
from .pages.base import FRAGMENT

if TYPE_CHECKING:
    from .lists import JobListAdmin

LONG = 2000  # characters of JSON that are folded
ENTRIES_SHOWN = 20  # of the history


def job_page(model_admin: JobListAdmin, request: HttpRequest, job_id: UUID) -> HttpResponse:
    """For users who may view the list that the job is in; 404 for an id that neither a table nor a broker knows."""
    story = story_for(model_admin, request, job_id)
    is_open = model_admin.has_payload_permission(request)
    request.current_app = model_admin.admin_site.name
    now = _now(story, is_open=is_open)
    if FRAGMENT in request.GET:
        return TemplateResponse(request, "admin/taskq_django/job_live.html", {**now, "has_ended": not now["is_live"]})
    waiting = timeline.waiting_of(story.id, store()) if story.status in WAITING else {}
    steps = list(timeline.steps(story, waiting, is_open=is_open))
    history, is_history_cut = _history(story.id)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": story.task_path,
        "opts": model_admin.opts,
        "story": story,
        **now,
        "facts": _facts(model_admin, request, story),
        "steps": steps,
        "left_out": max(0, len(story.failures) - timeline.SHOWN),
        "verbs": [
            (name, verb)
            for name, verb in VERBS.items()
            if story.status in verb.only and may(model_admin, request, verb)
        ],
        "may_enqueue_again": may_enqueue_again(model_admin, request, story.task_path),
        "zone": timezone.get_current_timezone_name(),
        "is_open": is_open,
        **(_texts(story) if is_open else {}),
        "live_url": f"?{FRAGMENT}=1",
        "error": _error(story, steps, is_open=is_open),
        "history": history,
        "is_history_cut": is_history_cut,
        "media": model_admin.media,
        "list_model": "queuedjob" if story.status in LIVE else "jobresult",
    }
    return TemplateResponse(request, "admin/taskq_django/job.html", context)


def job_act(model_admin: JobListAdmin, request: HttpRequest, job_id: UUID, verb: str) -> HttpResponse:
    """POST only: does it to this job, and leads back to its page."""
    site = model_admin.admin_site.name
    if request.method != "POST":
        return redirect(f"{site}:{APP}_job", job_id=job_id)
    story = story_for(model_admin, request, job_id)
    if not may(model_admin, request, VERBS[verb]):
        raise PermissionDenied
    act(request, VERBS[verb], [Chosen(story.id, story.backend, story.task_path)])
    is_gone = verb == "delete" and not read_stories([story.id], store())
    return redirect(f"{site}:{APP}_jobresult_changelist" if is_gone else page_after(model_admin, request, job_id))


def _now(story: Story, *, is_open: bool) -> dict[str, Any]:
    """Where it stands and how far it is: the part of the page that changes while it runs."""
    said = None if story.status in WAITING else read_progress([story.id], store()).get(story.id)
    fraction = said.fraction if said else None
    return {
        "badge": display.badge(story.status),
        "is_live": story.status in LIVE,
        "progress": said,
        "how_far": display.how_far(said) if said else "",
        "value": "" if fraction is None else f"{fraction:.4f}",  # a text, which no locale writes in another way
        "progress_text": without_passwords(said.text) if said and is_open else "",
    }


def _texts(story: Story) -> dict[str, Any]:
    """What a job was called with and has returned, as JSON; each with whether it is long."""
    given = story.task_path, story.headers
    texts = {
        "arguments": display.pretty_arguments(story.payload, *given),
        "value": display.pretty_value(story.return_value, *given),
    }
    call = display.short_arguments(story.payload, *given, read=len(story.payload) + 1)
    return {
        **{name: (text, len(text) > LONG) for name, text in texts.items() if text},
        "title": f"{story.task_path}({call})",
        "message": display.cut(without_passwords(story.message), display.LONGEST),
    }


def _error(story: Story, steps: list[timeline.Step], *, is_open: bool) -> timeline.Step | None:
    """What the job has ended with; with the traceback of its last attempt, if that is the one that says so."""
    if story.status == State.SUCCESSFUL:
        return None
    last = next((step for step in reversed(steps) if step.name), None)
    if story.exception_class and (last is None or last.name != story.exception_class):
        # It has ended without an attempt of its own to tell of it: no row, or a row that is gone.
        message = display.cut(without_passwords(story.message), display.LONGEST) if is_open else ""
        return timeline.Step(display.state_label(story.status), "failed", name=story.exception_class, message=message)
    return last


def _facts(model_admin: JobListAdmin, request: HttpRequest, story: Story) -> list[tuple[str, Any]]:
    task = registry.seek(story.task_path)
    facts = [
        (_("Task"), _of_list(model_admin, story, "task", story.task_path)),
        (_("Queue"), _of_list(model_admin, story, "queue", story.queue_name)),
        (_("Schedule"), _schedule(model_admin, request, story.headers)),
        (_("Priority"), story.priority),
        (_("Backend"), story.backend),
        (_("Attempts"), _attempts(story, task)),
        (_("Waited"), display.duration(story.enqueued_at, story.started_at)),
        (_("Duration"), display.duration(story.last_attempted_at, story.finished_at)),
        (_("Worker"), story.worker_id or "–"),
        (_("Id"), story.id),
    ]
    return [(name, fact) for name, fact in facts if fact not in {"", None}]


def _attempts(story: Story, task: Any) -> str:
    """More than a task allows are those of one that was retried by hand."""
    most = task.attempts_allowed if task is not None else 1
    is_counted = story.attempts <= most and most > 1
    return _("%(number)d of %(most)d") % {"number": story.attempts, "most": most} if is_counted else str(story.attempts)


def _of_list(model_admin: JobListAdmin, story: Story, name: str, value: str) -> SafeString | str:
    """Leads to the others of it, in the list that the job is in."""
    model = QueuedJob if story.status in LIVE else JobResult
    if not model_admin.admin_site.is_registered(model):
        return value
    url = reverse(f"{model_admin.admin_site.name}:{APP}_{model._meta.model_name}_changelist")
    return format_html('<a href="{}?{}">{}</a>', url, urlencode({name: value}), value)


def _schedule(model_admin: JobListAdmin, request: HttpRequest, headers: str) -> SafeString | str:
    """The one that has made the job, and the slot; "" for none. The text may be by another hand."""
    try:
        made_by = (headers_of(headers) or {})["schedule"]
        text, key = display.cut(f"{made_by['name']} ({made_by['slot']})", 300), made_by.get("id")
    except (KeyError, TypeError):
        return ""
    is_there = type(key) is int and 0 < key < 2**63 and model_admin.admin_site.is_registered(Schedule)
    if not (is_there and may_view(model_admin, request, Schedule)):
        return text
    url = reverse(f"{model_admin.admin_site.name}:{APP}_schedule_change", args=[key])
    return format_html('<a href="{}">{}</a>', url, text)


def _history(job_id: str) -> tuple[list[LogEntry], bool]:
    """Who has done what to it in the admin, the newest first; and are older entries than those left out?

    No index leads to the entries of one object, and an act on many jobs writes as many.
    """
    read = newest(LogEntry.objects.all())
    entries = read.filter(content_type=ContentType.objects.get_for_model(JobResult), object_id=job_id)
    return list(entries.select_related("user").order_by("-action_time")[:ENTRIES_SHOWN]), is_cut(read)
