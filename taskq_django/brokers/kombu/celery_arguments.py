"""Arguments in the JSON of kombu, which has words of its own for what JSON lacks, and in ours."""

from __future__ import annotations

import json
from binascii import a2b_base64
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from ... import codec
from ...codec.refusal import Refused, brief, in_call, located
from ...conf import is_redacted
from ...exceptions import ArgumentError
from ...jobs import SENSITIVE, headers_of

# What kombu writes for a value that JSON has no word for is a dict of these two keys.
MARK = {"__type__", "__value__"}
# By mark, its reader. The list is closed: a Celery app may register more, and these are refused.
READERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda value: datetime.fromisoformat(value).date(),
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": lambda value: UUID(value["hex"]),
    "bytes": str.encode,
    "base64": lambda value: a2b_base64(value, strict_mode=True),
}
# kombu writes these as they are, or with a mark of the list above.
WRITABLE = {type(None), bool, int, float, str, datetime, date, time, Decimal, UUID, bytes}
REMEDIES: dict[type, str] = {tuple: "{give} a list", set: "{give} a list", frozenset: "{give} a list"}


class Foreign(ValueError):
    """These are no arguments that a job could have. Its text tells what is wrong, and no value."""


def for_celery(payload: str, headers: str = "") -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a job as kombu's encoder takes them. Raises ArgumentError for what it has no word for.

    ``headers``: of the job; where they name secrets, the message tells nothing of what is within an argument.
    """
    args, kwargs = codec.decode_call(payload)
    if '"$t"' in payload or '"__type__"' in payload:
        try:
            _check_items(args)
            _check_pairs(kwargs)
        except Refused as refused:
            told = headers_of(headers) or {}
            raise ArgumentError(
                in_call(refused, (), lambda step: SENSITIVE in told or is_redacted(str(step)))
            ) from None
    return args, kwargs


def check_arguments(payload: str, headers: str) -> None:
    """Raises ArgumentError, as ``for_celery``; most payloads need no look."""
    if '"$t"' in payload or '"__type__"' in payload:
        for_celery(payload, headers)


def from_celery(text: str, max_bytes: int) -> tuple[str, dict[str, Any]]:
    """Of the body of a message: the arguments as the payload of a job, and what Celery adds to them. Raises Foreign."""
    try:
        body = json.loads(text, object_hook=_read, parse_constant=_refuse_constant)
    except RecursionError:
        raise Foreign("its body is nested too deep") from None
    except Foreign:
        raise
    except ValueError:
        raise Foreign("its body is not JSON") from None
    if type(body) is not list or len(body) not in (2, 3):
        raise Foreign("its body is not [args, kwargs, embed], as of protocol 2")
    args, kwargs, embed = (*body, None)[:3]
    if type(args) is not list or type(kwargs) is not dict or type(embed) not in (dict, type(None)):
        raise Foreign("its body is not [list, dict, dict], as of protocol 2")
    try:
        return codec.encode_call(args, kwargs, max_bytes=max_bytes), embed or {}
    except ArgumentError as error:
        raise Foreign(str(error)) from None


def _read(pairs: dict[str, Any]) -> Any:
    if pairs.keys() != MARK:
        return pairs
    mark, value = pairs["__type__"], pairs["__value__"]
    reader = READERS.get(mark) if type(mark) is str else None
    if reader is None:
        raise Foreign(f"an argument has the type {brief(mark)}, which taskq_django does not read")
    try:
        return reader(value)
    except Exception:  # given what kombu never wrote, a reader may raise anything
        raise Foreign(f"an argument is marked as {mark}, and is none") from None


def _refuse_constant(name: str) -> Any:
    raise Foreign(f"an argument is {name}, which JSON does not have")


def _check(value: Any) -> None:
    kind = type(value)
    if kind is list:
        _check_items(value)
    elif kind is dict:
        if value.keys() == MARK:
            raise Refused("{where} is a dict with the keys __type__ and __value__, by which Celery marks its own types")
        _check_pairs(value)
    elif kind not in WRITABLE:
        remedy = REMEDIES.get(kind, "{give} its total_seconds()")
        raise Refused(f"{{where}} of type {{name}} has no form in Celery's messages: {remedy}", name=kind.__name__)


def _check_items(items: list[Any]) -> None:
    for position, item in enumerate(items):
        _check_one(item, position)


def _check_pairs(pairs: dict[str, Any]) -> None:
    for key, item in pairs.items():
        _check_one(item, key)


def _check_one(item: Any, key: Any) -> None:
    try:
        _check(item)
    except Refused as refused:
        raise located(refused, key) from None
