"""A job once more with changes: a form that has its call, and enqueues a new job. The old one stays as it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import orjson
from django import forms
from django.contrib import messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from .. import codec
from ..backoff import LONGEST_DELAY
from ..compat import InvalidTask, InvalidTaskBackend
from ..conf import queue_name_problem
from ..exceptions import TaskqError, one_line
from ..handles import metadata_of
from ..models import JobResult
from ..models.moments import aware
from ..registry import registry
from ..results import Result
from ..store.stories import Story
from ..tasks import Task
from .finding import page_after, story_for
from .masking import MASK, Call, masked_call
from .schedules.argument_fields import ArgumentField, fields_of
from .schedules.arguments_form import TakesArguments, usable
from .schedules.calls import by_parameter, signature_text
from .schedules.schedulable import may_touch

if TYPE_CHECKING:
    from .lists import JobListAdmin


class AgainForm(TakesArguments, forms.Form):
    queue_name = forms.CharField(label=_("Queue"), max_length=64)
    priority = forms.IntegerField(label=_("Priority"), min_value=-100, max_value=100)
    due = forms.DateTimeField(
        label=_("Not before"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}),
    )

    def __init__(self, data: Any, *, story: Story, task: Task[..., Any]) -> None:
        super().__init__(data, initial={"queue_name": story.queue_name, "priority": story.priority})
        zone = timezone.get_current_timezone_name()
        self.fields["due"].help_text = _t("By the clock of %s. Left empty, it runs at once.") % zone
        self.task = task
        args, kwargs = stored_call(story)
        self._masked = _by_parameter(masked_call(args, kwargs, story.task_path, story.headers), task)
        self._take_arguments(args, kwargs)

    def _hides(self, argument: ArgumentField) -> bool:
        """What the page of the job masks: its task may have called other things secret when it was enqueued."""
        if self._masked is None:  # nobody knows what of it is secret
            return True
        return super()._hides(argument) or _holds_mask(self._masked[argument.parameter.name])

    def clean_queue_name(self) -> str:
        name: str = self.cleaned_data["queue_name"]
        if problem := queue_name_problem(name):
            raise ValidationError(problem)
        return name

    def clean_due(self) -> datetime | None:
        due: datetime | None = self.cleaned_data["due"]
        if due is not None and aware(due) > aware(timezone.now()) + timedelta(seconds=LONGEST_DELAY):
            raise ValidationError(_t("Say a moment within a hundred years."))
        return due

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        cleaned["call"] = self._clean_arguments(cleaned)
        return cleaned

    @property
    def argument_fields(self) -> list[forms.BoundField]:
        return [self[argument.name] for argument in self.arguments]


def may_enqueue_again(model_admin: JobListAdmin, request: HttpRequest, task_path: str) -> bool:
    """The form shows the arguments; and a task says who may run it with arguments of theirs, as for schedules."""
    may_enqueue = model_admin.has_enqueue_permission(request) and model_admin.has_payload_permission(request)
    return may_enqueue and may_touch(request.user, task_path)


def job_again(model_admin: JobListAdmin, request: HttpRequest, job_id: UUID) -> HttpResponse:
    story = story_for(model_admin, request, job_id)
    task = registry.seek(story.task_path)
    if task is None or not may_enqueue_again(model_admin, request, story.task_path):
        raise PermissionDenied
    form = AgainForm(request.POST or None, story=story, task=task)
    if form.is_valid() and (result := _enqueued(form, story, task)):
        _tell(request, story, result)
        return redirect(page_after(model_admin, request, result.id))
    context = {
        **model_admin.admin_site.each_context(request),
        "title": _t("Enqueue again with changes"),
        "opts": model_admin.opts,
        "story": story,
        "form": form,
        "signature": signature_text(task),
        "media": model_admin.media,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/taskq_django/job_again.html", context)


def stored_call(story: Story) -> tuple[list[Any], dict[str, Any]]:
    """Its arguments as the fields take them; none where they cannot be read."""
    try:
        call = orjson.loads(story.payload)
    except orjson.JSONDecodeError:
        return [], {}
    return usable(*call) if isinstance(call, list) and len(call) == 2 else ([], {})


def _by_parameter(call: Call | None, task: Task[..., Any]) -> dict[str, Any] | None:
    if call is None:
        return None
    positional, keywords = call
    return by_parameter(fields_of(task), [value for _name, value in positional], keywords)


def _holds_mask(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return any(map(_holds_mask, value)) if isinstance(value, list) else value == MASK


def _enqueued(form: AgainForm, story: Story, task: Task[..., Any]) -> Result[Any] | None:
    """None: it was refused, and the form says why."""
    given = form.cleaned_data
    due: datetime | None = given["due"]
    options = {name: given[name] for name in ("queue_name", "priority")} | {"backend": story.backend}
    if due is not None and aware(due) > aware(timezone.now()):
        options["run_after"] = due
    if task.native and (metadata := metadata_of(story.headers)):
        options["metadata"] = metadata
    try:
        args, kwargs = codec.decode_call(orjson.dumps(given["call"]).decode())
        return task.using(**options).enqueue(*args, **kwargs)
    except (TaskqError, InvalidTask, InvalidTaskBackend, DatabaseError, TypeError, ValueError) as error:
        form.add_error(None, one_line(error))
        return None


def _tell(request: HttpRequest, story: Story, result: Result[Any]) -> None:
    user = cast("int", request.user.pk)
    for id_, flag, text in (
        (result.id, ADDITION, _t("Enqueued again, with changes, from job %s.") % story.id),
        (story.id, CHANGE, _t("Enqueued again, with changes, as job %s.") % result.id),
    ):
        LogEntry.objects.log_actions(user, [JobResult(id=id_, task_path=story.task_path)], flag, text)
    messages.success(request, _t("This is the new job; the old one is %s.") % story.id)
