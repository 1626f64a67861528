"""Counts no further than a limit: an exact count of a million rows would be the slowest part of the page."""

from __future__ import annotations

from typing import Any, cast

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

from ..conf import taskq_settings


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages of at most ``ADMIN["COUNT_LIMIT"]`` rows; what is beyond is found by a filter or a search."""

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
