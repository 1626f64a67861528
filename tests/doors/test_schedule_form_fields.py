"""The form of a schedule has a field for each parameter of its task."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django import forms
from django.test import Client

from taskq_django.models import Schedule
from tests.app import signatures, tasks  # noqa: F401 - registered by that
from tests.support.schedule_pages import ADD, PREFIX, add, arguments, errors_of, sent, url

pytestmark = pytest.mark.django_db


def fields(client: Client, task: str) -> dict[str, forms.Field]:
    """Of the arguments, by parameter."""
    answer = client.get(url("arguments"), {"task": task})
    assert answer.status_code == 200
    form = answer.context["fieldset"].form
    return {name.removeprefix("arg-"): field for name, field in form.fields.items() if name.startswith("arg-")}


def piece(client: Client, task: str) -> str:
    return client.get(url("arguments"), {"task": task}).content.decode()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("whole", forms.IntegerField),
        ("text", forms.CharField),
        ("yes", forms.TypedChoiceField),
        ("amount", forms.DecimalField),
        ("day", forms.DateField),
        ("moment", forms.DateTimeField),
        ("clock", forms.TimeField),
        ("ident", forms.UUIDField),
        ("size", forms.TypedChoiceField),
        ("colour", forms.TypedChoiceField),
        ("price", forms.TypedChoiceField),
        ("ratio", forms.FloatField),
    ],
)
def test_an_annotation_decides_the_field(admin_client: Client, name: str, kind: type[forms.Field]) -> None:
    assert isinstance(fields(admin_client, PREFIX + "typed")[name], kind)


def test_dates_and_times_have_the_browsers_own_inputs(admin_client: Client) -> None:
    page = piece(admin_client, PREFIX + "typed")
    for kind, name in (("date", "day"), ("datetime-local", "moment"), ("time", "clock"), ("number", "whole")):
        assert re.search(rf'<input type="{kind}" name="arg-{name}"', page)


def test_choices_are_those_of_the_annotation(admin_client: Client) -> None:
    found: Any = fields(admin_client, PREFIX + "typed")
    assert [label for _, label in found["size"].choices] == ["---------", "small", "large"]
    assert [label for _, label in found["colour"].choices] == ["---------", "RED", "BLUE"]
    assert [label for _, label in found["price"].choices] == ["default: LOW", "LOW", "HIGH"]
    assert [label for _, label in found["yes"].choices] == ["---------", "Yes", "No"]


def test_what_has_no_default_is_required_and_what_has_one_shows_it(admin_client: Client) -> None:
    found = fields(admin_client, ADD)
    assert found["x"].required
    assert not found["y"].required
    assert found["y"].widget.attrs["placeholder"] == "2"


def test_optional_parameters_may_stay_empty(admin_client: Client) -> None:
    assert not any(field.required for field in fields(admin_client, PREFIX + "optional").values())
    assert add(admin_client, task_path=PREFIX + "optional", **arguments(count="")).status_code == 302
    assert Schedule.objects.get().kwargs == {"count": None}


@pytest.mark.parametrize("name", ["items", "options", "where", "either", "anything"])
def test_what_has_no_input_of_its_own_is_a_box_for_json(admin_client: Client, name: str) -> None:
    field = fields(admin_client, PREFIX + "collections")[name]
    assert field.required
    assert "taskq-json" in field.widget.attrs["class"]
    assert "JSON" in str(field.help_text)


def test_collections_are_stored_as_they_are_written(admin_client: Client) -> None:
    values = {"items": "[1, 2]", "options": '{"a": [true]}', "where": '{"x": 1}', "either": '"one"', "anything": "null"}
    answer = add(admin_client, task_path=PREFIX + "collections", **arguments(**values))
    assert errors_of(answer) == {"arg-anything": ["This field is required."]}

    answer = add(admin_client, task_path=PREFIX + "collections", **arguments(**{**values, "anything": "0"}))
    assert answer.status_code == 302
    assert Schedule.objects.get().kwargs == {
        "items": [1, 2],
        "options": {"a": [True]},
        "where": {"x": 1},
        "either": "one",
        "anything": 0,
    }


def test_a_dataclass_that_cannot_be_made_is_an_error_at_its_field(admin_client: Client) -> None:
    values = {"items": "[]", "options": "{}", "where": '{"z": 1}', "either": "1", "anything": "1"}
    answer = add(admin_client, task_path=PREFIX + "collections", **arguments(**values))
    (text,) = errors_of(answer)["arg-where"]
    assert "has the fields x, y, and no other" in text


def test_starred_parameters_take_a_list_and_an_object(admin_client: Client) -> None:
    found = fields(admin_client, PREFIX + "starred")
    assert [found["others"].label, found["more"].label] == ["*others", "**more"]
    assert not found["others"].required

    values = {"first": "1", "others": "[2, 3]", "flag": "true", "more": '{"deep": {"a": 1}}'}
    assert add(admin_client, task_path=PREFIX + "starred", **arguments(**values)).status_code == 302
    row = Schedule.objects.get()
    assert (row.args, row.kwargs) == ([1, 2, 3], {"flag": True, "deep": {"a": 1}})


@pytest.mark.parametrize(("name", "text"), [("others", '{"a": 1}'), ("more", "[1]"), ("others", "5")])
def test_a_starred_parameter_refuses_what_is_no_list_or_object(admin_client: Client, name: str, text: str) -> None:
    answer = add(admin_client, task_path=PREFIX + "starred", **arguments(first="1", **{name: text}))
    (error,) = errors_of(answer)[f"arg-{name}"]
    assert "must be like" in error


def test_one_name_given_twice_is_refused(admin_client: Client) -> None:
    answer = add(admin_client, task_path=PREFIX + "starred", **arguments(first="1", more='{"first": 2}'))
    assert "“first” is given twice" in str(errors_of(answer))


def test_positional_only_parameters_are_passed_by_order(admin_client: Client) -> None:
    answer = add(admin_client, task_path=PREFIX + "positional", **arguments(first="1", keyword="3"))
    assert answer.status_code == 302
    row = Schedule.objects.get()
    assert (row.args, row.kwargs) == ([1], {"keyword": 3})


def test_the_context_is_no_argument(admin_client: Client) -> None:
    assert list(fields(admin_client, PREFIX + "with_context")) == ["x"]
    assert "with_context(x: int)" in piece(admin_client, PREFIX + "with_context")


def test_a_task_of_djangos_own_decorator_can_be_scheduled(admin_client: Client) -> None:
    assert add(admin_client, task_path=PREFIX + "plain").status_code == 302
    assert Schedule.objects.get().kwargs == {"x": 1}


def test_what_a_task_of_djangos_own_cannot_be_sent_is_refused(admin_client: Client) -> None:
    answer = add(admin_client, name="b", task_path=PREFIX + "plain", **arguments(when="2026-03-01T12:00"))
    assert errors_of(answer)
    assert not Schedule.objects.exists()


def test_one_annotation_that_cannot_be_resolved_costs_no_other(admin_client: Client) -> None:
    found = fields(admin_client, PREFIX + "unresolvable")
    assert "taskq-json" in found["order"].widget.attrs["class"]
    assert isinstance(found["x"], forms.IntegerField)


def test_a_task_without_parameters_says_so(admin_client: Client) -> None:
    assert "takes no arguments" in piece(admin_client, PREFIX + "nothing")


def test_a_default_that_cannot_be_stored_must_be_replaced(admin_client: Client) -> None:
    answer = add(admin_client, task_path=PREFIX + "default_not_storable", **arguments(others="[1]"))
    assert "must be given" in str(errors_of(answer))


def test_the_signature_and_the_docstring_are_shown(admin_client: Client) -> None:
    page = piece(admin_client, PREFIX + "typed")
    assert "Has one of each." in page
    assert "longer story" not in page
    assert "typed(whole: int, text: str, yes: bool" in page
    assert "price: Price = Price.LOW, ratio: float = 0.5)" in page


def test_without_javascript_a_button_shows_the_fields(admin_client: Client) -> None:
    page = admin_client.get(url("add")).content.decode()
    assert 'name="_arguments"' in page
    assert 'name="arg-x"' not in page

    answer = admin_client.post(url("add"), {"task_path": ADD, "name": "kept", "_arguments": "1"})
    page = answer.content.decode()
    assert 'name="arg-x"' in page
    assert 'value="kept"' in page
    assert "This field is required" not in page
    assert not Schedule.objects.exists()


def test_without_javascript_a_button_shows_the_preview(admin_client: Client) -> None:
    answer = admin_client.post(url("add"), {**sent(name=None, spec="0 9 * * 1-5"), "_preview": "1"})
    page = answer.content.decode()
    assert "At 09:00, Monday through Friday" in page
    assert "This field is required" not in page
    answer = admin_client.post(url("add"), {**sent(spec="61 * * * *"), "_preview": "1"})
    assert "is no minute: it is out of range" in answer.content.decode()
    assert not Schedule.objects.exists()
