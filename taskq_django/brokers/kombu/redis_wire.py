"""What the scripts of Redis are given, and what they answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import TypeVar

from ...jobs import Claim, Job
from ...store.weights import cut
from ..messages.transport import HOLDER
from . import lua

T = TypeVar("T")

TWO_LENGTHS = Struct(">II")


def apart(lengths: bytes, text: bytes) -> list[tuple[bytes, bytes]]:
    """Ids, and what is stored of each."""
    pairs, at = [], 0
    for of_id, of_stored in TWO_LENGTHS.iter_unpack(lengths):
        begin = at + of_id
        end = begin + of_stored
        pairs.append((text[at:begin], text[begin:end]))
        at = end
    return pairs


def parts(messages: Sequence[tuple[Job, bytes]]) -> list[Sequence[tuple[Job, bytes]]]:
    if len(messages) == 1:  # as most publishes are
        return [messages]
    chunks = in_chunks(messages, lua.MOST)
    return [part for chunk in chunks for part in cut(chunk, [len(body) for _, body in chunk])]


def by_list(part: Iterable[tuple[Job, bytes]]) -> list[object]:
    """As the script wants them."""
    entries: dict[tuple[str, int], list[str | bytes]] = {}
    for job, body in part:
        entries.setdefault((job.queue_name, -job.priority), []).extend((job.id, body))
    arguments: list[object] = []
    for (queue, rank), pairs in entries.items():
        arguments += (queue, rank, len(pairs) // 2, *pairs)
    return arguments


def by_holder(claims: Sequence[Claim]) -> Iterator[tuple[str, Sequence[str]]]:
    ids: dict[str, list[str]] = {}
    for claim in claims:
        ids.setdefault(claim.receipt.removeprefix(HOLDER), []).append(claim.job.id)
    for holder, theirs in ids.items():
        for part in in_chunks(theirs, lua.MOST):
            yield holder, part


def in_chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def texts(answer: Iterable[bytes]) -> list[str]:
    return [each.decode("utf-8", "replace") for each in answer]  # a name may be by another hand
