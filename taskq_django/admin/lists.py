"""What the two lists have in common: few queries, cheap on a million rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import helpers
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.db.models.functions import Substr
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ..conf import right_settings, taskq_settings
from ..jobs import is_id
from ..states import State
from ..store.progress import read_progress
from . import display, searching
from .filters import Choice, StateFilter, by_keys, is_cut, newest, of_status
from .lookups import LONGEST_SEARCH, FilteredAdmin, FilteredChangeList

CHOSEN = helpers.ACTION_CHECKBOX_NAME


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages of at most ``ADMIN["COUNT_LIMIT"]`` rows; what is beyond is found by a filter or a search.

    To count a million rows would be the slowest part of the page.
    """

    @cached_property
    def count(self) -> int:
        return min(self._counted, taskq_settings().admin.count_limit)

    @property
    def has_more(self) -> bool:
        """Whether there are rows beyond the limit."""
        return self._counted > self.count

    def __str__(self) -> str:
        """``312``, or ``10,000+``."""
        return number_format(self.count, force_grouping=True) + "+" * self.has_more

    @cached_property
    def _counted(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        # A list of keys, cut off by the database: COUNT over a subquery with LIMIT.
        return rows.order_by().values("pk")[: taskq_settings().admin.count_limit + 1].count()


@dataclass(frozen=True, slots=True)
class Tab:
    label: str
    address: str
    count: str  # "" where it would be another one than that of its list
    is_chosen: bool


class JobChangeList(FilteredChangeList):
    def get_ordering_field(self, field_name: Any) -> Any:
        """Django shows no link for a column that cannot be sorted by, but follows an address that sorts by it."""
        sortable = self.model_admin.sortable_by or ()
        return super().get_ordering_field(field_name) if field_name in sortable else None

    def get_queryset(self, request: HttpRequest, *given: Any, **named: Any) -> QuerySet[Any]:
        """In an order for which there is no index only the newest, or the whole table would be read and sorted."""
        rows: QuerySet[Any] = super().get_queryset(request, *given, **named)
        first = str(rows.query.order_by[0]).lstrip("-")
        sortable = rows if first in {"id", "pk"} else newest(rows)
        self.is_of_newest = sortable is not rows and is_cut(sortable)
        return by_keys(sortable, self.root_queryset)

    def get_results(self, request: HttpRequest) -> None:
        """Tells its rows what their reader may see."""
        super().get_results(request)
        self.result_list = rows = list(self.result_list)
        model_admin: Any = self.model_admin
        may_see = model_admin.has_payload_permission(request)
        running = [str(row.pk) for row in rows if row.status == State.RUNNING]
        said = read_progress(running, self.root_queryset.db) if running else {}
        for row in rows:
            row.is_open = may_see
            row.progress = said.get(str(row.pk))
        self.tabs = list(self._tabs())
        choices = [spec for spec in self.filter_specs if isinstance(spec, Choice)]
        self.selects = [spec for spec in choices if not isinstance(spec, StateFilter)]
        names = {spec.parameter_name for spec in self.selects}
        self.kept_params = [pair for pair in self.params.items() if pair[0] not in names]
        self.is_chosen_from = bool(self.query) or any(spec.value() for spec in choices)
        self.has_other_filters = len(choices) < len(self.filter_specs)  # those that a project adds

    def _tabs(self) -> Iterator[Tab]:
        """All jobs of the table, and those of each status. They are counted where nothing else is chosen."""
        chosen = self.params.get("status", "")
        others = [values for name, values in self.get_filters_params().items() if name != "status"]
        is_whole = not self.query and not any(any(values) for values in others)
        status: Any = self.model._meta.get_field("status")
        for value, label in [("", _t("All")), *status.choices]:
            rows = of_status(self.root_queryset, value) if value else self.root_queryset
            count = str(CappedPaginator(rows, 1)) if is_whole else ""
            address = self.get_query_string({"status": value or None}, remove=[PAGE_VAR])
            yield Tab(label, address, count, value == chosen)


class JobListAdmin(FilteredAdmin):
    """A list of jobs; each row leads to the page of its job."""

    change_list_template = "admin/taskq_django/jobs.html"
    ordering = ("-id",)  # UUIDs of version 7: newest first, on the primary key
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("task_path",)  # that there is a box; see get_search_results
    search_help_text = _(
        "What the list shows, the beginning of an id, error:KeyError, task:…, queue:…. Words, errors and queues are "
        "looked for in the newest 50,000 jobs."
    )
    sortable_by: ClassVar[Any] = ("enqueued",)  # the primary key: any other order would sort the whole table
    actions: Any = None
    list_display_links = None  # the task leads to the page of the job

    class Media:
        css = {"all": ["taskq_django/admin.css"]}

    @property
    def list_per_page(self) -> int:  # type: ignore[override]
        return right_settings().admin.page_size  # Django's own checks read it

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return JobChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).defer("payload", "headers")
        annotated: QuerySet[Any] = rows.annotate(
            shown_payload=Substr("payload", 1, display.SHOWN_PAYLOAD),
            shown_headers=Substr("headers", 1, display.SHOWN_HEADERS),
        )
        return annotated

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        # NUL is in no row, and PostgreSQL refuses to be asked for it.
        if "\0" in search_term or len(search_term) > LONGEST_SEARCH:
            return queryset.none(), False
        may_see = self.has_payload_permission(request)
        return searching.found(queryset, searching.read(search_term), may_see_payload=may_see), False

    # Permissions

    def _by_nobody(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    has_add_permission = has_change_permission = has_delete_permission = _by_nobody

    def has_payload_permission(self, request: HttpRequest) -> bool:
        """May the user see arguments, return values, messages and tracebacks?"""
        return request.user.has_perm("taskq_django.view_payload")

    def has_enqueue_permission(self, request: HttpRequest) -> bool:
        """May the user enqueue a job anew, with other arguments?"""
        return request.user.has_perm("taskq_django.enqueue_task")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("taskq_django.retry_job")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("taskq_django.cancel_job")

    def has_reschedule_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("taskq_django.reschedule_job")

    # Actions

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """What can be no id is not chosen: Django hands it to the database."""
        chosen: Any = request.POST.copy()
        if CHOSEN in chosen:
            chosen.setlist(CHOSEN, [text for text in chosen.getlist(CHOSEN) if is_id(text)])
            request.POST = chosen
        title = capfirst(self.opts.verbose_name_plural)  # Django's is “Select result to view”
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    # Pages

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if is_id(object_id):
            return redirect(job_url(self.admin_site.name, object_id))
        return redirect(f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """There is a button on the page of the job."""
        return self.change_view(request, object_id)

    # Columns

    @admin.display(description=_("task"))
    def task(self, row: Any) -> SafeString:
        call = display.short_arguments(row.shown_payload, row.task_path, row.shown_headers) if row.is_open else "…"
        return task_cell(self.admin_site.name, row.pk, row.task_path, call)

    @admin.display(description=_("status"))
    def state_badge(self, row: Any) -> SafeString:
        badge = display.badge(row.status)
        if row.progress is None:
            return badge
        return format_html('{}<br><span class="taskq-muted">{}</span>', badge, display.how_far(row.progress))

    @admin.display(description=_("enqueued"), ordering="id")
    def enqueued(self, row: Any) -> SafeString | str:
        return display.when(row.enqueued_at)


def task_cell(site: str, id_: UUID | str, path: str, call: str) -> SafeString:
    """``send_invoice(order=42)``, whose name leads to the page of the job; the module is under it."""
    module, _, name = path.rpartition(".")
    return format_html(
        '<span class="taskq-call" dir="ltr" title="{path}({call})"><a href="{url}"><strong>{name}</strong></a>'
        '<code class="taskq-arguments">({call})</code></span>'
        '<br><span class="taskq-muted taskq-module" dir="ltr">{module}</span>',
        url=job_url(site, id_),
        path=path,
        name=name or path,
        module=module,
        call=call,
    )


def job_url(site: str, id_: UUID | str) -> str:
    # An address may have been typed: as one number, or in capitals.
    return reverse(f"{site}:taskq_django_job", args=[UUID(str(id_))])
