"""How much goes to a store, comes from it or is kept for it in one go: a group has a weight, and not only a count.

A weight is how many bytes the text takes in memory that a job, or what came of it, carries. The rest weighs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

# Of one group. As JSON it is up to six times as much: that still fits a statement, a transaction, and a lease.
HEAVIEST = 4 << 20
# A thousand of these are no more than a group.
LIGHT = HEAVIEST // 1000
# Of what one process keeps beyond the jobs that it runs, of each kind: arguments read ahead, results not yet stored.
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
