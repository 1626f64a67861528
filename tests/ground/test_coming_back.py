"""What is sent comes back equal, or is refused where it is sent."""

from __future__ import annotations

import sys
import typing
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime, time, timedelta, timezone
from enum import Enum, IntEnum, StrEnum
from typing import Any, Generic, Literal, NewType, Protocol, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import pytest

from taskq_django import every, task
from taskq_django.beat.declared import row_values
from taskq_django.codec import decode_call, decode_value, encode_call, encode_value
from taskq_django.exceptions import ArgumentError

pytestmark = pytest.mark.once

T = TypeVar("T")


class Color(Enum):
    RED = "red"


class Size(StrEnum):
    SMALL = "s"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Line:
    sku: str
    count: int = 1


@dataclass(frozen=True)
class Cart:
    lines: tuple[Line, ...]
    owner: str | None = None


@dataclass
class Twin:
    """Has the fields of a Line."""

    sku: str
    count: int = 1


@dataclass
class Gift(Line):
    pass


@dataclass
class Wrapped(Line):
    paper: str = "gold"


@dataclass
class Money:
    cents: float

    def __post_init__(self) -> None:
        self.cents = round(self.cents * 100)


@dataclass
class Scaled:
    size: int
    factor: InitVar[int] = 2

    def __post_init__(self, factor: int) -> None:
        self.size *= factor


@dataclass
class Keyed:
    size: int
    key: InitVar[str]


@dataclass
class Summed:
    """Made again it is equal, though it computes."""

    parts: list[int]
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = sum(self.parts)


@dataclass(eq=False)
class Unequal:
    size: int


@dataclass
class Picky:
    size: int

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Box(Generic[T]):
    content: T


class Order(TypedDict):
    line: Line


class Priced(Protocol):
    sku: str


Alias = NewType("Alias", Line)


def taking(annotation: Any) -> Callable[..., None]:
    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": annotation}
    return function


def sent(annotation: Any, value: Any) -> Any:
    """As the task gets it."""
    function = taking(annotation)
    by_name = decode_call(encode_call((), {"x": value}, function=function), function)[1]["x"]
    ([by_place], _) = decode_call(encode_call((value,), {}, names=("x",), function=function), function)
    assert type(by_place) is type(by_name)
    return by_place


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Line, Line("a")),
        (Line | None, Line("a", 2)),
        (Cart, Cart((Line("a"), Line("b", 2)))),
        (Line | Cart, Line("a")),
        (Line | Cart, Cart((Line("a"),), "me")),
        (Cart | Line | None, Line("a")),
        (Line | str, Line("a")),
        (Line | str, "a"),
        (Line | int | None, 5),
        (list[Line] | Line, [Line("a")]),
        (list[Line] | Line, Line("a")),
        (dict[str, Line] | Line, {"sku": Line("a")}),
        (dict[str, Line] | Line, Line("a")),
        (list[Line | Cart], [Line("a"), Cart(())]),
        (Color | int, Color.RED),
        (Color | int, 5),
        (Color | Line, Color.RED),
        (Size | str, Size.SMALL),
        (Literal[Color.RED], Color.RED),
        (Literal[Color.RED, None], Color.RED),
        (Alias, Line("a")),
        (Box[int], Box(5)),
        (Box, Box("a")),
        (Summed, Summed([1, 2])),
        (Gift, Gift("a")),
        (Sequence[Line], (Line("a"),)),
        (Mapping[str, Sequence[Line]], {"a": [Line("a")]}),
        (set[Color], {Color.RED}),
        (Any, [1, {"a": (2,)}]),
        (Priced, "text"),
    ],
)
def test_what_an_annotation_names_comes_back_equal(annotation: Any, value: Any) -> None:
    back = sent(annotation, value)

    assert back == value
    assert type(back) is type(value) or isinstance(value, Size)


def test_a_dataclass_without_a_comparison_comes_back_field_by_field() -> None:
    back = sent(Unequal, Unequal(5))
    assert (type(back), back.size) == (Unequal, 5)


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (Money, Money(1.5), "holds a Money that would not arrive equal, because what is made again from its fields"),
        (list[Money], [Money(0), Money(1.5)], "holds a Money that would not arrive equal"),
        (Scaled, Scaled(1, 7), "holds a Scaled that would not arrive equal"),
        (Keyed, Keyed(1, "k"), "cannot be made again by its annotation (TypeError)"),
        (
            Line | Twin,
            Twin("a"),
            "holds a Twin that would arrive as Line: annotate the parameter with this class alone",
        ),
        (Line, Gift("a"), "holds a Gift that would arrive as Line"),
        (Line, Wrapped("a"), "cannot be made again by its annotation (Line has the fields sku, count, and no other)"),
        (Line | dict[str, Any], Line("a"), "holds a Line that would arrive as dict"),
        (Line | Any, Line("a"), "holds a Line that would arrive as dict"),
        (Color | str, Color.RED, "holds a Color that would arrive as str"),
        (Enum, Color.RED, "holds a Color that would arrive as str"),
        (Priced, Line("a"), "holds a Line that would arrive as dict"),
        (Order, {"line": Line("a")}, "holds a Line that would arrive as dict"),
        (Box[Line], Box(Line("a")), "holds a Box that would not arrive equal"),
        (Picky, Picky(1), "reading it raised RuntimeError"),
        (Color, "blue", "cannot be made again by its annotation (ValueError)"),
        (Line, 5, "cannot be made again by its annotation (Line needs a dict, not int)"),
    ],
)
def test_what_would_not_is_refused_where_it_is_sent(annotation: Any, value: Any, words: str) -> None:
    with pytest.raises(ArgumentError) as refusal:
        sent(annotation, value)
    assert str(refusal.value).startswith("argument 'x' ")
    assert words in str(refusal.value)


def test_an_argument_of_stars_is_compared_as_any_other() -> None:
    def function(first: int, *rest: Money, **more: Money) -> None: ...

    function.__annotations__ = {"rest": Money, "more": Money}
    for args, kwargs in (((1, Money(0), Money(1.5)), {}), ((1,), {"y": Money(1.5)})):
        with pytest.raises(ArgumentError, match="holds a Money"):
            encode_call(args, kwargs, function=function)
    assert decode_call(encode_call((1, Money(0)), {}, function=function), function) == ([1, Money(0)], {})


@pytest.mark.parametrize("annotation", [Any, object, dict, dict[str, Any], Mapping, str, None])
def test_without_its_class_in_the_annotation_the_plain_value_arrives(annotation: Any) -> None:
    assert sent(annotation, Line("a")) == {"sku": "a", "count": 1}
    assert sent(annotation, Color.RED) == "red"


@pytest.mark.parametrize(("annotation", "value"), [(Line, {"sku": "a"}), (Color, "red"), (Line | Cart, {"lines": []})])
def test_who_gives_the_plain_form_gets_what_is_made_of_it(annotation: Any, value: Any) -> None:
    assert type(sent(annotation, value)) in {Line, Color, Cart}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no such statement before")
def test_a_type_statement_names_its_classes_even_within_itself() -> None:
    names: dict[str, Any] = {"Line": Line, "Color": Color}
    exec("type Lines = list[Line] | None\ntype Tree = list[Tree] | Line\ntype Gone = Nowhere", names)

    assert sent(names["Lines"], [Line("a")]) == [Line("a")]
    assert sent(names["Tree"], [[Line("a")], Line("b")]) == [[Line("a")], Line("b")]
    with pytest.raises(ArgumentError, match="would arrive as dict"):
        sent(names["Gone"], Line("a"))


@task
def pay(amount: Money) -> None: ...


@pytest.mark.django_db
def test_enqueue_and_a_schedule_in_code_refuse_it_too() -> None:
    with pytest.raises(ArgumentError, match="argument 'amount' holds a Money"):
        pay.enqueue(Money(1.5))
    with pytest.raises(ArgumentError, match="holds a Money"):
        row_values(pay, every(hours=1, args=[Money(1.5)]))


# --- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moment",
    [
        time(3, fold=1),
        time(3, 4, 5, 6, fold=1, tzinfo=UTC),
        datetime(2026, 10, 25, 2, 30, fold=1),  # noqa: DTZ001 - such arguments there are
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        time(3),
    ],
    ids=str,
)
def test_a_time_keeps_its_fold(moment: Any) -> None:
    for back in (decode_value(encode_value(moment)), sent(type(moment), moment)):
        assert (back, back.fold, back.tzinfo) == (moment, moment.fold, moment.tzinfo)


@pytest.mark.parametrize("value", [OrderedDict(b=1, a=2), Counter("aab"), defaultdict(int, a=1)])
def test_a_kind_of_dict_arrives_as_a_dict_in_its_order(value: Any) -> None:
    back = decode_value(encode_value(value))
    assert (type(back), list(back.items())) == (dict, list(value.items()))


BARE = vars(typing)  # of its own names some are not to be written any more


class Loose(TypedDict):
    a: int


class Shade(Enum):
    DARK = 1


@dataclass
class Form:
    a: int


@dataclass(eq=False)
class Inner:
    n: int


@dataclass
class Outer:
    inner: Inner


class Pair(Enum):
    FIRST = (1, 2)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (BARE["List"], [1]),
        (BARE["Dict"], {"a": 2}),
        (BARE["Set"] | None, {3}),
        (Form | Loose, {"a": 1}),
        (float | Shade, 1),
    ],
)
def test_what_may_be_meant_as_it_is_stays_so(annotation: Any, value: Any) -> None:
    back = sent(annotation, value)
    assert (type(back), back) == (type(value), value)


def test_what_has_equal_fields_is_equal_and_the_value_of_an_enum_may_be_a_tuple() -> None:
    assert sent(Outer, Outer(Inner(1))).inner.n == 1
    assert sent(Pair, (1, 2)) == Pair.FIRST
