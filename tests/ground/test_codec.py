"""Whatever is accepted comes back equal; whatever is not is refused where it is sent, in words."""

from __future__ import annotations

import io
import time as clock
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st

from taskq_django import codec
from taskq_django.exceptions import (
    ArgumentError,
    PayloadError,
    PayloadTooLarge,
    ResultNotSerializable,
    ResultTooLarge,
)

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
ZONES = st.sampled_from([None, UTC, ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=-3, minutes=-30))])
HASHABLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXT,
    st.binary(),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.datetimes(timezones=ZONES),
)
VALUES = st.recursive(
    HASHABLE | st.sets(HASHABLE, max_size=3) | st.frozensets(HASHABLE, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.just("$t"), inner, max_size=4) | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same types at every depth."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, Decimal):
        return a.as_tuple() == b.as_tuple()
    if isinstance(a, datetime):
        return a == b and a.utcoffset() == b.utcoffset()
    return bool(a == b)


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_what_is_sent_comes_back_equal(value: Any) -> None:
    text = codec.encode_call([value], {"k": value})
    text.encode()
    assert "\0" not in text
    args, kwargs = codec.decode_call(text)
    assert same(args, [value])
    assert same(kwargs, {"k": value})
    assert same(codec.decode_value(codec.encode_value(value)), value)


@given(st.text() | st.sampled_from(['{"$t":"dict","v":[]}', '[[{"$t":"datetime","v":1}],{}]', '[[{"$t":[]}],{}]']))
@settings(max_examples=300, deadline=None)
def test_any_stored_text_is_read_or_refused(text: str) -> None:
    for read in (codec.decode_call, codec.decode_value):
        with suppress(PayloadError):
            read(text)


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        -(2**63) - 1,
        10**4299,
        {"$t": "uuid", "v": "x"},
        {"$t": {"$t": 1}},
        {"a": {"$t": "dict", "v": {}}},
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 3, 1),  # noqa: DTZ001
        (1, (2, [3])),
        {1, 2},
        b"\x00\xff",
        Decimal("1.10"),
        timedelta.max,
        date.min,
        time(1, 2, 3, 4),
        -0.0,
    ],
    ids=repr,
)
def test_edges_come_back_equal(value: Any) -> None:
    assert same(codec.decode_value(codec.encode_value(value)), value)


def test_a_zone_comes_back_as_itself() -> None:
    value = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    back = codec.decode_value(codec.encode_value(value))
    assert (back.tzinfo, back.fold) == (value.tzinfo, 1)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


@dataclass
class Point:
    x: int
    colour: Colour = Colour.RED
    tags: list[Word] = field(default_factory=list)


def takes(p: Point, colour: Colour, level: Level | None, words: list[Word], *, points: dict[str, Point]) -> None: ...


def test_enums_and_dataclasses_are_rebuilt_from_the_annotation() -> None:
    point = Point(1, tags=[Word.YES])
    text = codec.encode_call([point, Colour.RED, Level.HIGH, [Word.YES]], {"points": {"a": point}})
    assert "Colour" not in text
    assert "Point" not in text
    args, kwargs = codec.decode_call(text, takes)
    assert args == [point, Colour.RED, Level.HIGH, [Word.YES]]
    assert [type(args[1]), type(args[2]), type(args[3][0])] == [Colour, Level, Word]
    assert kwargs == {"points": {"a": point}}


def test_a_value_that_fits_its_annotation_no_more_is_named() -> None:
    text = codec.encode_call([{"x": 1, "gone": 2}, "blue", None, []], {})
    with pytest.raises(PayloadError, match=r"'p'.*no field 'gone'"):
        codec.decode_call(text, takes)


def test_annotations_that_cannot_be_resolved_leave_values_plain() -> None:
    def odd(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert codec.decode_call("[[1],{}]", odd) == ([1], {})


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


async def coroutine() -> None: ...


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), ["object", "Pass an id"]),
        (Odd(), ["Odd"]),
        ({Odd(): 1}, ["keys must be str"]),
        (User(pk=1), ["User", "model instance", "pass obj.pk"]),
        ({1: "a"}, ["key 1", "int", "keys must be str"]),
        (float("nan"), ["nan"]),
        (float("inf"), ["inf"]),
        (1e400, ["inf"]),
        (Decimal("NaN"), ["NaN"]),
        ("a\0b", ["NUL"]),
        ({"a\0": 1}, ["NUL"]),
        ("\ud800", ["surrogate"]),
        ({"\ud800": 1}, ["surrogate"]),
        (10**5000, ["4300 digits"]),
        (deep(21), ["deeper than 20"]),
        (deep(100_000), ["deeper than 20"]),
        (circular(), ["deeper than 20", "contains itself"]),
        ((n for n in range(3)), ["generator", "list"]),
        (io.StringIO(), ["StringIO", "file"]),
        (time(1, tzinfo=UTC), ["zone"]),
        (int, ["type"]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
def test_what_cannot_travel_is_refused_with_its_name_and_a_remedy(value: Any, words: list[str]) -> None:
    begun = clock.monotonic()
    for args, kwargs in (([1, value], {}), ([], {"who": value}), ([], {"who": [{"a": value}]})):
        with pytest.raises(ArgumentError) as caught:
            codec.encode_call(args, kwargs, names=["n", "who"])
        assert "'who'" in str(caught.value)
        assert isinstance(caught.value, TypeError)
        assert len(str(caught.value)) < 500
        for word in words:
            assert word in str(caught.value)
    assert clock.monotonic() - begun < 5


def test_a_queryset_is_refused_with_its_remedy() -> None:
    with pytest.raises(ArgumentError, match="QuerySet: pass the primary keys"):
        codec.encode_call([User.objects.all()], {})


def test_the_place_inside_an_argument_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"Argument 'who'\['a'\]\[2\] is of type object"):
        codec.encode_call([{"a": [1, 2, object()]}], {}, names=["who"])


def test_large_arguments_are_refused_fast() -> None:
    large = "x" * (50 * 1024 * 1024)
    begun = clock.monotonic()
    with pytest.raises(
        PayloadTooLarge, match=r"50\.0 MiB, the limit is 1\.0 MiB.*max_payload.*store it and pass a key"
    ):
        codec.encode_call([large], {})
    with pytest.raises(ResultTooLarge, match=r"50\.0 MiB"):
        codec.encode_value(large)
    assert clock.monotonic() - begun < 5


def test_a_returned_coroutine_says_async_def() -> None:
    pending = coroutine()
    with pytest.raises(ResultNotSerializable, match="async def"):
        codec.encode_value(pending)
    pending.close()


def test_a_lazy_translation_travels_as_its_text() -> None:
    assert codec.encode_value(gettext_lazy("Yes")) == '"Yes"'


def test_plain_tasks_follow_the_frameworks_rules() -> None:
    text = codec.encode_plain_call([(1, b"x", {2: "b"})], {"y": Word.YES})
    assert codec.decode_call(text) == ([[1, "x", {"2": "b"}]], {"y": "yes"})
    for value in (datetime.now(UTC), uuid4(), Decimal(1), {1}, object()):
        with pytest.raises(TypeError, match=r"Unsupported type: <class"):
            codec.encode_plain_call([value], {})
        with pytest.raises(TypeError, match=r"Unsupported type: <class"):
            codec.encode_plain_value(value)
    for value in (float("nan"), "\0", "\ud800", circular()):
        with pytest.raises(TypeError):
            codec.encode_plain_call([value], {})


def test_uuids_are_uuids() -> None:
    value = uuid4()
    assert isinstance(codec.decode_value(codec.encode_value(value)), UUID)
