"""What the two lists have in common: read-only, few queries, cheap on a million rows."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.db.models.functions import Substr
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ..conf import right_settings, taskq_settings
from ..jobs import is_id
from . import display
from .filters import newest
from .lookups import LONGEST_SEARCH, FilteredAdmin, FilteredChangeList

SORTABLE = ("enqueued",)  # the primary key: any other order would sort the whole table


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

    @cached_property
    def _counted(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        # A list of keys, cut off by the database: COUNT over a subquery with LIMIT.
        return rows.order_by().values("pk")[: taskq_settings().admin.count_limit + 1].count()


class JobChangeList(FilteredChangeList):
    """Django shows no link for a column that cannot be sorted by, but follows an address that sorts by it."""

    def get_ordering_field(self, field_name: Any) -> Any:
        return super().get_ordering_field(field_name) if field_name in SORTABLE else None


class JobListAdmin(FilteredAdmin):
    """A list of jobs; each row leads to the page of its job."""

    ordering = ("-id",)  # UUIDs of version 7: newest first, on the primary key
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("id", "task_path")
    search_help_text = _("The id of a job, or how the path of its task begins (among the newest 50,000 jobs).")
    sortable_by = SORTABLE
    indexed: tuple[str, ...] = ()  # fields that a filter may look for in every row of the table
    actions = None
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
        term = search_term.strip()
        if not term:
            return queryset, False
        if is_id(term):
            return queryset.filter(pk=UUID(term)), False
        # NUL is in no path, and PostgreSQL refuses to be asked for it.
        if "\0" in term or len(term) > LONGEST_SEARCH:
            return queryset.none(), False
        return newest(queryset).filter(task_path__startswith=term), False

    def _by_nobody(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    has_add_permission = has_change_permission = has_delete_permission = _by_nobody

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if is_id(object_id):
            return redirect(job_url(self.admin_site.name, object_id))
        return redirect(f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_changelist")

    @admin.display(description=_("task"))
    def task(self, row: Any) -> SafeString:
        return task_cell(self.admin_site.name, row.pk, row.task_path, row.shown_payload, row.shown_headers)

    @admin.display(description=_("status"))
    def state_badge(self, row: Any) -> SafeString:
        return display.badge(row.status)

    @admin.display(description=_("enqueued"), ordering="id")
    def enqueued(self, row: Any) -> str:
        return display.moment(row.enqueued_at)


def task_cell(site: str, id_: UUID | str, path: str, payload: str, headers: str) -> SafeString:
    """The task leads to the page of the job, its arguments are under it."""
    return format_html(
        '<a href="{}" title="{}">{}</a><br><code class="taskq-arguments">{}</code>',
        job_url(site, id_),
        path,
        display.task_name(path),
        display.short_arguments(payload, path, headers),
    )


def job_url(site: str, id_: UUID | str) -> str:
    # An address may have been typed: as one number, or in capitals.
    return reverse(f"{site}:taskq_django_job", args=[UUID(str(id_))])
