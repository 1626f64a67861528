"""What the address of a list may ask for.

Django takes every parameter that names a field for a lookup: with ``?kwargs__password__startswith=h`` whoever may view
a list reads, by trying, what its pages mask, and ``?message__regex=`` is as slow as somebody wants it. Here only the
filters of the page count.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.filters import FieldListFilter
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import url_params_from_lookup_dict
from django.core.exceptions import FieldDoesNotExist
from django.db.models import QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest

LONGEST_SEARCH = 255  # characters: no path, id or name is longer, and SQLite refuses a pattern of 50,000


class FilteredAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list that is asked by its filters, its search and its columns, and by nothing else."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Django answers 400 where it is not; what names nothing at all it ignores."""
        if not self._names_something(lookup, request):
            return True
        return any(lookup in self._parameters_of(each, request) for each in self.get_list_filter(request)) or (
            lookup in {f"{self.date_hierarchy}__{part}" for part in ("year", "month", "day")}
            or self._limits_choices(lookup, value)
        )

    def _names_something(self, lookup: str, request: HttpRequest) -> bool:
        if LOOKUP_SEP in lookup or lookup == "pk" or lookup in self.get_queryset(request).query.annotations:
            return True
        try:
            self.opts.get_field(lookup)
        except FieldDoesNotExist:
            return False
        return True

    def _parameters_of(self, list_filter: Any, request: HttpRequest) -> Any:
        """The parameters that one of ``list_filter`` reads: also of those that a project adds."""
        if name := getattr(list_filter, "parameter_name", None):
            return {name}
        if callable(list_filter):
            return list_filter(request, {}, self.model, self).expected_parameters()
        path, make = list_filter if isinstance(list_filter, (tuple, list)) else (list_filter, FieldListFilter.create)
        field = get_fields_from_path(self.model, path)[-1]
        return make(field, request, {}, self.model, self, field_path=path).expected_parameters()

    def _limits_choices(self, lookup: str, value: str) -> bool:
        """Is it what the popup of a foreign key's field is opened with, because its ``limit_choices_to`` says so?"""
        limits = (limit() if callable(limit) else limit for limit in self.model._meta.related_fkey_lookups)
        return any((lookup, value) in url_params_from_lookup_dict(limit).items() for limit in limits)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if len(search_term) > LONGEST_SEARCH:
            return queryset.none(), False
        return super().get_search_results(request, queryset, search_term)


class FilteredChangeList(ChangeList):
    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Each column once: an address may name one two thousand times, and a database refuses so many."""
        return list({str(each): each for each in super().get_ordering(request, queryset)}.values())
