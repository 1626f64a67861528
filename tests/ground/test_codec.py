from __future__ import annotations

import asyncio
import io
import math
import subprocess
import sys
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Optional
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import pytest
from django.utils.datastructures import MultiValueDict
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.safestring import mark_safe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskq_django.codec import (
    decode_call,
    decode_value,
    encode_call,
    encode_value,
)
from taskq_django.codec.tags import READERS
from taskq_django.exceptions import (
    ArgumentError,
    PayloadError,
    PayloadTooLarge,
    ResultNotSerializable,
    ResultTooLarge,
)

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

BERLIN = ZoneInfo("Europe/Berlin")
MIB = 1 << 20

encode_plain_call, encode_plain_value = partial(encode_call, plain=True), partial(encode_value, plain=True)

few = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))

# --- what comes back equal ----------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.sampled_from(["$t", "v"])
zones = st.none() | st.just(UTC) | st.sampled_from([BERLIN, ZoneInfo("UTC"), ZoneInfo("Australia/Lord_Howe")])
# In whole seconds: Python 3.11 reads an offset of microseconds only as UTC.
offsets = st.integers(-80_000, 80_000).map(lambda seconds: timezone(timedelta(seconds=seconds)))
hashables = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 4299).map(lambda digits: -(10**digits))
    | st.sampled_from([2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, 10**4300 - 1])
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.datetimes(timezones=zones | offsets)
    | st.dates()
    | st.times(timezones=st.none() | offsets)
    | st.timedeltas()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
    | st.binary(max_size=8)
)
hashables |= st.frozensets(hashables, max_size=3) | st.tuples(hashables, hashables)
values = st.recursive(
    hashables | st.sets(hashables, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(texts, inner, max_size=4)
        | st.fixed_dictionaries({"$t": inner, "v": inner})
    ),
    max_leaves=12,
)


def kinds(value: Any) -> Any:
    """The types all the way down; a fold and a zone count, which == does not compare."""
    match value:
        case dict():
            return {key: kinds(item) for key, item in value.items()}
        case list() | tuple():
            return type(value), [kinds(item) for item in value]
        case set() | frozenset():
            return type(value), {(type(item), item) for item in value}
        case datetime():
            return datetime, value.replace(tzinfo=None), value.utcoffset(), getattr(value.tzinfo, "key", None)
        case float():
            return float, math.copysign(1, value)
        case _:
            return type(value)


@few
@given(st.lists(values, max_size=3), st.dictionaries(texts, values, max_size=3))
def test_arguments_come_back_equal_and_of_the_same_types(args: list[Any], kwargs: dict[str, Any]) -> None:
    text = encode_call(args, kwargs)

    assert decode_call(text) == (args, kwargs)
    assert kinds(list(decode_call(text))) == kinds([args, kwargs])
    assert "\0" not in text
    assert "\\u0000" not in text.replace("\\\\", "")


@few
@given(values)
def test_a_return_value_comes_back_equal_and_of_the_same_types(value: Any) -> None:
    back = decode_value(encode_value(value))

    assert back == value
    assert kinds(back) == kinds(value)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),  # twice on that night
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN),  # never
        datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN, fold=1),
        datetime(1850, 1, 1, tzinfo=BERLIN),  # +00:53:28
        datetime.min.replace(tzinfo=BERLIN),
        datetime.max.replace(tzinfo=BERLIN),
    ],
)
def test_a_datetime_keeps_its_instant_offset_and_zone(moment: datetime) -> None:
    back = decode_value(encode_value(moment))

    assert (back, back.fold, back.tzinfo, back.utcoffset()) == (
        moment,
        moment.fold,
        BERLIN,
        moment.utcoffset(),
    )


def test_a_datetime_keeps_its_instant_where_the_rules_of_its_zone_have_changed() -> None:
    back = decode_value('{"$t":"zoned","v":["2026-06-01T12:00:00+05:00","Europe/Berlin",0]}')

    assert back == datetime(2026, 6, 1, 7, tzinfo=UTC)
    assert back.tzinfo is BERLIN


def test_a_users_dict_that_looks_like_a_tag_stays_a_dict() -> None:
    fakes = [
        {"$t": "uuid", "v": "00000000-0000-0000-0000-000000000000"},
        {"$t": "dict", "v": {"$t": "int", "v": "1"}},
        {"$t": None},
        {"v": {"$t": ["set"]}},
        '{"$t": "int", "v": "1"}',
    ]
    named: dict[str, Any] = {"$t": "int", "v": "5"}

    assert decode_value(encode_value(fakes)) == fakes
    assert decode_value(encode_plain_value(fakes)) == fakes
    assert decode_call(encode_call(fakes, named)) == (fakes, named)
    assert decode_call(encode_plain_call(fakes, named)) == (fakes, named)


class Color(Enum):
    RED = "red"
    NONE = None


class Size(StrEnum):
    SMALL = "s"


class Level(IntEnum):
    HIGH = 3


class Access(IntFlag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Point:
    x: int
    color: Color = Color.RED
    tags: tuple[str, ...] = ()
    norm: int = field(init=False, default=0)
    next: Point | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", abs(self.x))


class Instant(datetime):
    """As a frozen clock makes them."""


class Nanoseconds(datetime):
    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = datetime.__hash__


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (Color.RED, "red"),
        (Size.SMALL, "s"),
        (Level.HIGH, 3),
        (Access.READ | Access.WRITE, 3),
        ({Size.SMALL: Level.HIGH}, {"s": 3}),
        ({Color.RED, Size.SMALL}, {"red", "s"}),
        (Point(-2), {"x": -2, "color": "red", "tags": (), "norm": 2, "next": None}),
        (mark_safe("<b>"), "<b>"),
        (lazystr("Yes"), "Yes"),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (SimpleLazyObject(lambda: {"a": 1}), {"a": 1}),
        (type("Id", (int,), {})(2**70), 2**70),
        (type("Ratio", (float,), {})(0.5), 0.5),
        (type("Rows", (list,), {})([1]), [1]),
        (Instant(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_enums_dataclasses_and_equal_subclasses_travel_as_plain_values(sent: Any, received: Any) -> None:
    (back,), _ = decode_call(encode_call((sent,), {}))

    assert back == received
    assert kinds(back) == kinds(received)


# --- rebuilding ---------------------------------------------------------------------------------------------


def paint(
    color: Color,
    size: Size | None,
    points: list[Point],
    pair: tuple[int, Color],
    unknown: Unknown = 0,
    *more: Level,
    by_size: Optional[dict[Size, Point]] = None,  # noqa: UP045
    either: Color | str = "",
    any_enum: Enum | None = None,
    **others: Point,
) -> Unknown: ...


def test_enums_and_dataclasses_are_rebuilt_from_the_annotations() -> None:
    args = [
        Color.RED,
        Size.SMALL,
        [Point(1, next=Point(-5, Color.NONE, ("a",)))],
        (1, Color.NONE),
        5,
        Level.HIGH,
    ]
    kwargs = {"by_size": {Size.SMALL: Point(2)}, "other": Point(3)}

    back_args, back_kwargs = decode_call(encode_call(args, kwargs), paint)

    assert (back_args, back_kwargs) == (args, kwargs)
    assert type(back_args[1]) is Size
    assert type(back_args[5]) is Level
    assert [type(size) for size in back_kwargs["by_size"]] == [Size]


def test_values_stay_plain_without_a_class_to_rebuild() -> None:
    text = encode_call((), {"either": Color.RED, "any_enum": Color.RED})

    assert decode_call(text, paint) == ([], {"either": "red", "any_enum": "red"})
    assert decode_call('[["red"],{}]', lambda color: color) == (["red"], {})
    assert decode_call("[[1],{}]", print) == ([1], {})


def test_none_is_let_through_whatever_the_annotation_says() -> None:
    def move(to: Point, size: Size, sizes: list[Size], color: Color) -> None: ...

    move.__annotations__.update(to=Point, size=Size, sizes=list[Size], color=Color)

    assert decode_call("[[null,null,[null],null],{}]", move) == ([None, None, [None], Color.NONE], {})


def with_context(context, color: Color) -> None: ...  # type: ignore[no-untyped-def]
def with_own_context(context: dict[str, Any], color: Color) -> None: ...


def test_the_parameter_that_the_worker_fills_takes_no_argument() -> None:
    assert decode_call('[["red"],{}]', with_context, takes_context=True) == ([Color.RED], {})
    assert decode_call('[[{},"red"],{}]', with_own_context) == ([{}, Color.RED], {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[["blue"],{}]', "'color' does not fit its annotation (ValueError)"),
        ('[[],{"color":["red"]}]', "'color' does not fit its annotation (ValueError)"),
        ('[["red",null,[1]],{}]', "'points' does not fit its annotation (Point needs a dict, not int)"),
        (
            '[["red",null,[{"y":1}]],{}]',
            "'points' does not fit its annotation (Point has the fields x, color, tags, norm, next, and no other)",
        ),
        ('[[],{"p":{}}]', "'p' does not fit its annotation (TypeError)"),
    ],
)
def test_a_value_that_fits_its_annotation_no_more_is_a_payload_error(text: str, message: str) -> None:
    with pytest.raises(PayloadError) as error:
        decode_call(text, paint)
    assert message in str(error.value)


def test_a_class_is_never_taken_from_the_message() -> None:
    for kind in ("os.system", "tests.ground.test_codec.Color", "__import__", "pickle", "object"):
        with pytest.raises(PayloadError, match="unknown kind"):
            decode_call(orjson.dumps([[{"$t": kind, "v": "red"}], {}]).decode(), paint)


# --- refusals -----------------------------------------------------------------------------------------------


class User:
    """As far as the codec looks, a model."""

    _meta = "…"
    pk: int | None = 1


class QuerySet:
    query = "…"

    def __init__(self) -> None:
        self.model = User


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError


class HostileText(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__
    encode = isascii = __eq__ = __contains__ = __len__ = __str__  # type: ignore[assignment]
    __hash__ = str.__hash__


def circular() -> list[Any]:
    items: list[Any] = [1]
    items[0] = items
    return items


def nested(depth: int) -> list[Any]:
    items: list[Any] = []
    for _ in range(depth - 1):
        items = [items]
    return items


def rows() -> Iterator[int]:
    yield 1


REFUSED: list[tuple[Any, str]] = [
    (object(), "argument 'x' of type object cannot be sent: pass an id, a str or a dict of its data"),
    ([{"a": (object(),)}], "argument 'x'[0]['a'][0] of type object cannot be sent"),
    (
        User(),
        "argument 'x' of type User (a model instance) cannot be sent: pass x.pk and load it in the task",
    ),
    (
        SimpleLazyObject(lambda: User()),
        "argument 'x' of type User (a model instance) cannot be sent: pass x.pk",
    ),
    (
        {"a": User()},
        "argument 'x'['a'] of type User (a model instance) cannot be sent: pass its pk and load it",
    ),
    (QuerySet(), "argument 'x' of type QuerySet (a QuerySet) cannot be sent: pass a list of primary keys"),
    (
        MultiValueDict({"a": [1, 2]}),
        "argument 'x' of type MultiValueDict (it can have a key twice) cannot be sent: pass x.dict()",
    ),
    (
        namedtuple("Pair", "a b")(1, 2),
        "argument 'x' of type Pair (a named tuple) cannot be sent: pass tuple(",
    ),
    (io.BytesIO(), "argument 'x' of type BytesIO cannot be sent: pass its name or its content"),
    (rows(), "argument 'x' of type generator cannot be sent: pass a list"),
    (User, "argument 'x' of type type cannot be sent"),
    (len, "of type builtin_function_or_method cannot be sent"),
    (bytearray(b"a"), "of type bytearray cannot be sent"),
    (deque([1]), "of type deque cannot be sent"),
    (Hostile(), "argument 'x' of type Hostile cannot be sent"),
    (Nanoseconds(2026, 1, 1), "argument 'x' of type Nanoseconds cannot be sent"),
    ({1: "a", "1": "b"}, "a key of argument 'x' is 1 of type int; keys must be str"),
    ({"a": [{Hostile(): 1}]}, "a key of argument 'x'['a'][0] is <Hostile> of type Hostile; keys must be str"),
    ({"a\0": 1}, "a key of argument 'x' has NUL in it, which PostgreSQL cannot store"),
    ({"\ud800": 1}, "a key of argument 'x' has a lone surrogate"),
    (["a\0b"], "argument 'x'[0] has NUL in it, which PostgreSQL cannot store"),
    ("é\0", "argument 'x' has NUL in it"),
    ("\ud800", "argument 'x' has a lone surrogate"),
    (mark_safe("\0"), "argument 'x' has NUL in it"),
    (math.nan, "argument 'x' is nan, which JSON does not have: pass None or a str"),
    ([-math.inf], "argument 'x'[0] is -inf, which JSON does not have"),
    (1e400, "argument 'x' is inf"),
    (Decimal("sNaN"), "argument 'x' is Decimal sNaN"),
    (10**4300, "argument 'x' is an int of more than 4300 digits"),
    (10**5000, "argument 'x' is an int of more than 4300 digits"),
    (-(10**4305), "argument 'x' is an int of more than 4300 digits"),
    (time(12, tzinfo=BERLIN), "argument 'x' is a time whose UTC offset depends on the date"),
    ({Point(1)}, "argument 'x' is a set of what is not hashable as JSON: pass a list"),
    ({Color.RED, "red"}, "argument 'x' is a set of what is not hashable as JSON"),
    (nested(21), "deeper than 20 at argument 'x'[0][0][0][0][0][0]…, or it contains itself: flatten it"),
    (nested(100_000), "deeper than 20 at argument 'x'[0]"),
    (circular(), "deeper than 20 at argument 'x'[0]"),
    (SimpleLazyObject(lambda: 1 / 0), "argument 'x' cannot be sent: reading it raised ZeroDivisionError"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_what_cannot_travel_is_refused_by_name_type_and_remedy(value: Any, message: str) -> None:
    for args, kwargs, names in (((value,), {}, ("x",)), ((), {"x": value}, ()), ((1, value), {}, ("y", "x"))):
        with pytest.raises(ArgumentError) as refusal:
            encode_call(args, kwargs, names=names)
        assert message in str(refusal.value)
    with pytest.raises(ResultNotSerializable, match="return value"):
        encode_value(value)


def test_real_models_and_querysets_are_known_without_a_query() -> None:
    from django.contrib.auth import models

    for value, what in (
        (models.User(pk=1), "User (a model instance)"),
        (models.User.objects.all(), "QuerySet (a Q"),
    ):
        with pytest.raises(ArgumentError) as refusal:
            encode_call((value,), {})
        assert what in str(refusal.value)


def test_hostile_texts_do_not_break_the_error_message() -> None:
    with pytest.raises(ArgumentError, match=r"^argument 'x'"):
        encode_call(([HostileText("a\0"), Hostile()],), {}, names=("x",))
    with pytest.raises(ArgumentError, match=r"^argument 'x'.*cannot be sent"):
        encode_call(({HostileText("a"): Hostile()},), {}, names=("x",))


def test_an_argument_without_a_name_is_named_by_its_place() -> None:
    with pytest.raises(ArgumentError, match=r"^args\[1\]\['a'\]\[3\] of type object cannot be sent"):
        encode_call((1, {"a": [0, 1, 2, object()]}), {}, names=("x",))
    with pytest.raises(ArgumentError, match=r"^a key of kwargs is 1 of type int"):
        encode_call((), {1: 2})  # type: ignore[dict-item]


def test_twenty_levels_are_allowed() -> None:
    assert decode_call(encode_call((nested(20),), {})) == ([nested(20)], {})
    assert decode_value(encode_value(nested(20))) == nested(20)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (object, "return value of type object cannot be stored: return an id, a str or a dict of its data"),
        (rows, "return value of type generator cannot be stored: return a list"),
        (
            lambda: asyncio.sleep(0),
            "return value of type coroutine cannot be stored: declare the task `async def`",
        ),
        (lambda: User(), "return value of type User (a model instance) cannot be stored: return its pk"),
        (lambda: {"a": [object()]}, "return value['a'][0] of type object cannot be stored"),
        (circular, "deeper than 20 at return value[0]"),
    ],
)
def test_a_return_value_that_cannot_be_stored_is_refused(make: Callable[[], Any], message: str) -> None:
    value = make()
    with pytest.raises(ResultNotSerializable) as refusal:
        encode_value(value)
    assert str(refusal.value).startswith(message)
    if asyncio.iscoroutine(value):
        value.close()


def test_arguments_over_the_limit_are_refused_with_both_sizes() -> None:
    with pytest.raises(PayloadTooLarge) as refusal:
        encode_call((), {"body": "x" * int(2.1 * MIB)})
    remedy = '(OPTIONS["max_payload"]): store it and pass a key'
    assert str(refusal.value) == f"arguments are 2.1 MiB, the limit is 1.0 MiB {remedy}"
    with pytest.raises(PayloadTooLarge, match=r"1\.5 KiB, the limit is 1\.0 KiB"):
        encode_plain_call(("x" * 1500,), {}, max_bytes=1024)
    with pytest.raises(PayloadTooLarge, match=r"1,025 bytes, the limit is 1,024 bytes"):
        encode_call(("x" * 1016,), {}, max_bytes=1024)
    assert len(encode_call(("x" * 1015,), {}, max_bytes=1024)) == 1024
    with pytest.raises(PayloadTooLarge, match=r"1\.2 KiB"):
        encode_call(("é" * 600,), {}, max_bytes=1024)  # bytes, not characters


def test_a_return_value_over_the_limit_is_refused_with_both_sizes() -> None:
    with pytest.raises(ResultTooLarge, match=r"return value is at least 20\.0 MiB > 1 MiB"):
        encode_value("x" * (20 * MIB))
    with pytest.raises(ResultTooLarge, match=r"return value is 2\.0 MiB > 1 MiB"):
        encode_plain_value(["x" * (2 * MIB)])


def shared() -> list[Any]:
    """Ten billion billion items, and all of them the same few."""
    items: list[Any] = [1] * 10
    for _ in range(18):
        items = [items] * 10
    return items


@pytest.mark.parametrize(
    "value",
    ["x" * 50_000_000, b"x" * 50_000_000, [1] * 10_000_000, range(10**12), ["x" * MIB] * 10**6, shared()],
    ids=["str", "bytes", "list", "range", "one text often", "one list often"],
)
@pytest.mark.parametrize("encode", [encode_call, encode_plain_call])
def test_what_is_far_too_large_is_refused_before_it_is_all_walked(encode: Callable[..., str], value: Any) -> None:
    # One that walked all of it would not come to an end before the run's own limit does.
    with pytest.raises(ArgumentError):
        encode((value,), {})


# --- stored text --------------------------------------------------------------------------------------------

KINDS = st.sampled_from([*READERS, "object"])
stored = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.sampled_from(["1", "nan", "P", "UTC"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.fixed_dictionaries({"$t": KINDS | inner, "v": inner})
        | st.fixed_dictionaries({"$t": KINDS, "v": inner, "w": inner})
    ),
    max_leaves=8,
)


@few
@given(st.text() | stored.map(lambda value: orjson.dumps([[value], {"a": value}]).decode()))
def test_any_text_is_read_or_is_a_payload_error(text: str) -> None:
    for function in (None, paint):
        try:
            args, kwargs = decode_call(text, function)
        except PayloadError:
            continue
        assert (type(args), type(kwargs)) == (list, dict)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[[NaN],{}]", "not JSON"),
        ("[[1e400],{}]", "not JSON"),
        ('[["\\ud800"],{}]', "not JSON"),
        ("\ud800", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("null", "not [list, dict]"),
        ("[]", "not [list, dict]"),
        ("[1,2]", "not [list, dict]"),
        ("[[],{},1]", "not [list, dict]"),
        ('{"args":[],"kwargs":{}}', "not [list, dict]"),
        ('[[{"$t":"object","v":1}],{}]', "unknown kind 'object'"),
        ('[[{"$t":["set"],"v":1}],{}]', "unknown kind ['set']"),
        ('[[{"$t":"uuid","v":"x"}],{}]', "uuid that cannot be read (ValueError)"),
        ('[[{"$t":"uuid","v":1}],{}]', "uuid that is not one"),
        ('[[{"$t":"uuid"}],{}]', "uuid that is not one"),
        ('[[{"$t":"int","v":"1","w":1}],{}]', "int that is not one"),
        ('[[{"$t":"int","v":"' + "9" * 5000 + '"}],{}]', "int that cannot be read"),
        ('[[{"$t":"decimal","v":"NaN"}],{}]', "decimal that cannot be read"),
        ('[[{"$t":"set","v":[[1]]}],{}]', "set that cannot be read"),
        ('[[{"$t":"bytes","v":"é"}],{}]', "bytes that cannot be read"),
        ('[[{"$t":"timedelta","v":[1]}],{}]', "timedelta that cannot be read"),
        ('[[{"$t":"timedelta","v":[1e300,0,0]}],{}]', "timedelta that cannot be read"),
        (
            '[[{"$t":"zoned","v":["2026-01-01T00:00:00+01:00","../../etc/passwd",0]}],{}]',
            "zoned that cannot be read",
        ),
        (
            '[[{"$t":"zoned","v":["2026-01-01T00:00:00+01:00","Mars/Olympus",0]}],{}]',
            "zoned that cannot be read",
        ),
        ('[[{"$t":"dict","v":{"a":{"$t":"no","v":1}}}],{}]', "unknown kind 'no'"),
        ('[[{"$t":"tuple","v":[]},' + "[" * 1000 + "]" * 1000 + "],{}]", "nested too deep"),
    ],
)
def test_text_that_cannot_be_read_is_a_payload_error_that_says_why(text: str, message: str) -> None:
    with pytest.raises(PayloadError) as error:
        decode_call(text)
    assert message in str(error.value)
    assert len(str(error.value)) < 200


def test_a_payload_error_does_not_repeat_the_arguments() -> None:
    with pytest.raises(PayloadError) as error:
        decode_call('[[{"$t":"uuid","v":"secret"}],{}]')
    assert "secret" not in str(error.value)
    with pytest.raises(PayloadError) as error:
        decode_call('[["secret"],{}]', paint)
    assert "secret" not in str(error.value)


# --- django.tasks' rules ------------------------------------------------------------------------------------


def normalized(value: Any) -> Any:
    try:
        from django.utils.json import normalize_json
    except ImportError:  # Django 5.2
        from django_tasks.utils import normalize_json
    return normalize_json(value)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | texts.map(str.encode),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(deque)
        | st.dictionaries(texts | st.integers() | st.booleans() | st.none() | st.floats(0, 1), inner, max_size=3)
    ),
    max_leaves=12,
)


@few
@given(plain)
def test_plain_values_are_what_django_and_json_make_of_them(value: Any) -> None:
    import json

    wanted = json.loads(json.dumps(normalized(value)))

    assert decode_value(encode_plain_value(value)) == wanted
    assert decode_call(encode_plain_call((value,), {"a": value})) == ([wanted], {"a": wanted})


@pytest.mark.parametrize(
    "value",
    [
        object(), datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), Decimal(1), UUID(int=1), {1}, frozenset(),
        Color.RED, Point(1), lazystr("Yes"), User(), timedelta(1), time(1), 1j,
    ],
)  # fmt: skip
def test_plain_arguments_refuse_what_django_refuses(value: Any) -> None:
    message = f"Unsupported type: {type(value)}"

    with pytest.raises(TypeError) as django_error:
        normalized(value)
    with pytest.raises(ArgumentError) as error:
        encode_plain_call(([value],), {}, names=("x",))
    with pytest.raises(TypeError) as result_error:
        encode_plain_value({"a": value})

    assert str(django_error.value) == message
    assert str(error.value) == f"argument 'x'[0]: {message}"
    assert str(result_error.value) == f"return value['a']: {message}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "is nan"),
        ("\0", "NUL"),
        (b"\0", "NUL"),
        ("\ud800", "surrogate"),
        (b"\xff", "Unsupported value: <class 'bytes'>"),
        (circular(), "deeper than 20"),
        (nested(100_000), "deeper than 20"),
        (10**5000, "4300 digits"),
        ({math.inf: 1}, "a key of argument 'x' is inf"),
        ({(1,): 1}, "a key of argument 'x': Unsupported type: <class 'tuple'>"),
        ({b"\xff": 1}, "a key of argument 'x': Unsupported value: <class 'bytes'>"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_plain_arguments_have_the_same_limits(value: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        encode_plain_call((value,), {}, names=("x",))
    assert message in str(error.value)
    with pytest.raises(TypeError):
        encode_plain_value(value)


def test_the_codec_needs_no_settings() -> None:
    code = "import taskq_django.codec as c; assert c.decode_call(c.encode_call((1,), {})) == ([1], {})"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env={"PATH": ""})
