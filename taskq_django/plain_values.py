"""Values by django.tasks' own rules (its ``normalize_json``), for tasks of its own decorator: strict JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import orjson

from .values import DEEPEST, Refused, write_float, write_int, write_str


def to_plain_json(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise Refused(f"Arguments are deeper than {DEEPEST} levels, or contain themselves.")
    match value:
        case Mapping():
            return {_plain_key(key): to_plain_json(item, depth + 1) for key, item in value.items()}
        case bytes():
            try:
                return write_str(value.decode(), depth)
            except UnicodeDecodeError:
                raise Refused(f"Unsupported value: {type(value)}") from None
        case str():
            return write_str(str(value.value if isinstance(value, Enum) else value), depth)
        case None | bool():
            return value
        case int():
            return write_int(int(value), depth)
        case float():
            return write_float(float(value), depth)
        case Sequence():
            return [to_plain_json(item, depth + 1) for item in value]
        case _:
            raise Refused(f"Unsupported type: {type(value)}")


def _plain_key(key: Any) -> str:
    """What JSON makes of a key."""
    if isinstance(key, str):
        return write_str(str(key), 0)
    if key is None or isinstance(key, (bool, int, float)):
        return orjson.dumps(key).decode()
    raise Refused(f"Unsupported type: {type(key)}")
