"""How much goes to a store, comes from it or is kept for it in one go: a group has a weight, and not only a count.

A weight is how many bytes the text takes in memory that a job, or what came of it, carries. The rest weighs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, IntegerField, QuerySet
from django.db.models.sql.compiler import SQLCompiler

T = TypeVar("T")

# Rows of one transaction that people's acts need, or fewer that are heavy: its locks are held for some milliseconds.
AT_ONCE = 500

# The most bytes of one group. As JSON they are up to six times as many, as \u0000 is for one byte: a server still takes
# that in one statement, and the transaction ends long before a lease does.
HEAVIEST = 4 << 20
# The most bytes of a text that is light: a thousand such texts together are no more than one group.
LIGHT = HEAVIEST // 1000
# About the most bytes that one process keeps beside the jobs that it runs: of arguments read ahead, and again of
# results that one backend has not stored yet.
MOST_KEPT = 4 * HEAVIEST


def cut(items: Sequence[T], weights: Sequence[int]) -> Iterator[Sequence[T]]:
    """The items, in their order, in groups of at most HEAVIEST; what is heavier by itself is alone in its group."""
    start = weight = 0
    if sum(weights) > HEAVIEST:  # seldom true, so light jobs pay for one sum() only
        for position, each in enumerate(weights):
            if weight and weight + each > HEAVIEST:
                yield items[start:position]
                start, weight = position, 0
            weight += each
    if start < len(items):
        yield items[start:] if start else items


def what_fits(weights: Sequence[int]) -> int:
    """How many of these are taken until they are HEAVIEST: the one that reaches it is the last."""
    weight = 0
    for count, each in enumerate(weights, 1):
        weight += each
        if weight >= HEAVIEST:
            return count
    return len(weights)


class Octets(Func):
    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="LENGTH(CAST(%(expressions)s AS BLOB))", **context)


def light_groups(ids: Iterable[str], rows: QuerySet[Any]) -> Iterator[Sequence[str]]:
    """By count, and by the arguments of those that are among ``rows``, which are read and written again."""
    rest = iter(ids)
    while group := list(islice(rest, AT_ONCE)):
        if len(group) == 1:
            yield group
            continue
        found = rows.filter(id__in=group).values_list("id", Octets("payload") + Octets("headers"))
        weights = {str(id_): weight for id_, weight in found}
        yield from cut(group, [weights.get(id_, 0) for id_ in group])
