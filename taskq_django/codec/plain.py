"""Values by Django's own rules, its ``normalize_json``, for tasks of its own decorator: strict JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .refusal import Refused
from .writing import BASE_WRITERS, PLAIN_WRITERS, Walk, Write, write_dict, write_items, write_str


def write_plain(value: Any, depth: int, walk: Walk) -> Any:
    """``normalize_json`` of django.utils.json, case by case."""
    match value:
        case Mapping():
            return write_dict(value, depth, walk)
        case bytes():
            return _decoded(value)
        case str():
            return BASE_WRITERS[str](value, depth, walk)
        case int():
            return BASE_WRITERS[int](value, depth, walk)
        case float():
            return BASE_WRITERS[float](value, depth, walk)
        case Sequence():
            return write_items(value, depth, walk)
        case _:
            raise _unsupported(value)


def write_plain_key(key: Any) -> str:
    """What JSON makes of a key."""
    if isinstance(key, str):
        return write_str(str.__str__(key))
    if isinstance(key, bytes):
        return _decoded(key)
    if isinstance(key, float) and not math.isfinite(key):
        raise Refused("{where} is {key}, which JSON does not have", key=key)
    if key is None or isinstance(key, (int, float)):
        return json.dumps(key)
    raise _unsupported(key)


def _unsupported(value: Any) -> Refused:
    return Refused("{where}: Unsupported type: {kind}", kind=type(value))


def _decoded(value: bytes) -> str:
    try:
        return write_str(value.decode())
    except UnicodeDecodeError:
        raise Refused("{where}: Unsupported value: {kind}", kind=type(value)) from None


WRITERS: dict[type, Write | None] = {
    **PLAIN_WRITERS,
    list: write_items,
    tuple: write_items,
    dict: write_dict,
}
