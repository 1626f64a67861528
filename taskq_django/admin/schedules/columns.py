"""The columns of the list of schedules. Whatever was stored is hostile and gets escaped."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ...exceptions import SpecError
from ...models import Schedule
from ...models.moments import aware
from ...store.stories import read_standings
from .. import display
from ..lists import job_url
from ..lookups import FilteredChangeList
from .clocks import Clocks, clocks_of, readers_clocks
from .filters import OVERDUE
from .history import last_runs
from .schedulable import may

REASON = 60  # characters of why a schedule does not run, which its page shows whole


class ScheduleChangeList(FilteredChangeList):
    """Tells its rows what their columns ask: the site, what its reader may do, and their last jobs."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: Any = list(self.result_list)
        self.result_list = rows
        last = last_runs([row.pk for row in rows], self.queryset.db)
        jobs = read_standings([str(job) for job, _ in last.values() if job], self.queryset.db)
        for row in rows:
            row.last_job, row.last_slot = last.get(row.pk, (None, None))
            job = jobs.get(str(row.last_job))
            row.last_state = job.status if job else ""
            row.site = self.model_admin.admin_site.name
            row.may_switch = may(self.model_admin, request, "disable" if row.enabled else "enable", row)
            row.query = request.GET.urlencode()


@admin.display(description=_("on"), ordering="enabled")
def switch(row: Any) -> SafeString | str:
    """A button in the form of the list, so that it works without JavaScript."""
    if not row.may_switch:
        return _t("Yes") if row.enabled else _t("No")
    label = (_t("Disable %s") if row.enabled else _t("Enable %s")) % row.name
    url = schedule_url(row.site, "disable" if row.enabled else "enable", row.pk)
    return format_html(
        '<button type="submit" class="taskq-switch" formaction="{url}?_list&amp;{query}" formnovalidate'
        ' aria-pressed="{pressed}" title="{label}"><span class="taskq-hidden">{label}</span></button>',
        url=url,
        query=row.query,
        pressed="true" if row.enabled else "false",
        label=label,
    )


@admin.display(description=_("schedule"), ordering="name")
def title(row: Any) -> SafeString:
    tag: SafeString | str = ""
    if row.declared_as:
        text, told = (_t("changed"), _t("declared in code, changed here")) if row.is_overridden else (_t("code"), "")
        tag = format_html(' <span class="taskq-tag" title="{}">{}</span>', told or _t("declared in code"), text)
    return format_html(
        '<a href="{}"><bdi><strong>{}</strong></bdi></a>{}<br><bdi class="taskq-muted taskq-path">{}</bdi>',
        schedule_url(row.site, "change", row.pk),
        _short_name(row),
        tag,
        row.task_path,
    )


def _short_name(row: Schedule) -> str:
    """Of one that the code gives no name, and so is called by the path of its task, what the path ends with."""
    module, dot, _name = row.task_path.rpartition(".")
    return row.name.removeprefix(f"{module}{dot}") if row.declared_as.startswith(row.task_path) else row.name


@admin.display(description=_("when"))
def when(row: Schedule) -> SafeString:
    try:
        text = row.moments.describe()
    except SpecError as error:
        text = str(error)
    return format_html('<span class="taskq-words">{}</span><br><code dir="ltr">{}</code>', text, row.spec)


@admin.display(description=_("next run"), ordering="next_run_at")
def next_run(row: Schedule) -> SafeString | str:
    """With its zone; the reader's time is its title, and is shown where it is another."""
    clocks, yours = clocks_of(row.kind, row.timezone), readers_clocks()
    if not row.enabled or row.next_run_at is None:
        # Of an interval, which has no zone, nothing is to be said.
        return "–" if row.kind == "interval" else format_html('–<br><bdi class="taskq-muted">{}</bdi>', clocks.name)
    slot = aware(row.next_run_at)
    left = slot - aware(timezone.now())
    text = _t("in %s") % display.span(left) if left > timedelta() else _t("%s ago") % display.span(-left)
    if not clocks.agree(yours, slot):
        text = format_html(
            '{} <span class="taskq-muted">· {} <bdi>{}</bdi></span>', text, _brief(yours, slot), yours.name
        )
    return format_html(
        '{}<br><time datetime="{}" title="{}" class="taskq-muted">{} <bdi>{}</bdi></time>',
        text,
        slot.isoformat(),
        display.exactly(slot),
        _brief(clocks, slot),
        clocks.name,
    )


@admin.display(description=_("last run"), ordering="last_run_at")
def last_run(row: Any) -> SafeString | str:
    if row.last_job is None:
        return "–"
    badge = display.badge(row.last_state) if row.last_state else "–"
    return format_html('<a href="{}">{}<br>{}</a>', job_url(row.site, row.last_job), badge, display.when(row.last_slot))


@admin.display(description=_("state"))
def state(row: Schedule) -> SafeString:
    name, label, reason = state_of(row)
    mark = format_html('<span class="taskq-badge taskq-{}">{}</span>', name, label)
    if not reason:
        return mark
    return format_html(
        '{}<br><span class="taskq-muted taskq-reason" title="{}">{}</span>', mark, reason, display.cut(reason, REASON)
    )


def state_of(row: Schedule) -> tuple[str, Any, str]:
    """A class of the style sheet, a word, and the reason."""
    if not row.enabled:
        return "cancelled", _t("Disabled"), row.disabled_reason
    if row.broken:
        return "failed", _t("Broken"), row.broken
    if row.is_finished:
        return "cancelled", _t("Finished"), ""
    if row.next_run_at and aware(row.next_run_at) < aware(timezone.now()) - OVERDUE:
        return "scheduled", _t("Overdue"), ""
    return "successful", _t("Active"), ""


def schedule_url(site: str, what: str, pk: int | None = None) -> str:
    return reverse(f"{site}:taskq_django_schedule_{what}", args=[pk] if pk is not None else None)


def _brief(clocks: Clocks, slot: datetime) -> str:
    is_near = abs(slot - aware(timezone.now())) < timedelta(hours=12)
    return f"{clocks.shows(slot):{'%H:%M:%S' if is_near else '%Y-%m-%d %H:%M'}}"
