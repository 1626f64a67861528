"""The pages of schedules in the admin, as a test asks for them."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from taskq_django.models import Schedule

ADD = "tests.app.tasks.add"
PREFIX = "tests.app.signatures."


def url(what: str, row: Schedule | None = None) -> str:
    return reverse(f"admin:taskq_django_schedule_{what}", args=[row.pk] if row else None)


def schedule(**changes: Any) -> Schedule:
    given = {"name": "nightly", "task_path": ADD, "kwargs": {"x": 1}, "spec": "0 3 * * *", "timezone": "Europe/Berlin"}
    row = Schedule(**{**given, **changes})
    row.save()
    return row


def raw(row: Schedule, **changes: Any) -> Schedule:
    """Written as no form and no ``save`` would."""
    Schedule.objects.filter(pk=row.pk).update(**changes)
    row.refresh_from_db()
    return row


def sent(**changes: Any) -> dict[str, Any]:
    """What a browser sends of a new form; None leaves a field out."""
    given = {
        "name": "nightly",
        "task_path": ADD,
        "enabled": "on",
        "kind": "cron",
        "spec": "0 3 * * *",
        "timezone": "Europe/Berlin",
        "jitter": "0",
        "misfire": "once",
        "misfire_grace": "86400",
        "misfire_cap": "100",
        "overlap": "allow",
        "arg-x": "1",
    }
    return {name: value for name, value in {**given, **changes}.items() if value is not None}


def arguments(**values: Any) -> dict[str, Any]:
    return {f"arg-{name}": value for name, value in values.items()}


def add(client: Client, **changes: Any) -> Any:
    return client.post(url("add"), sent(**changes))


def errors_of(answer: Any) -> dict[str, list[str]]:
    """By field; "" for those of the whole form. Nothing has been saved then."""
    assert answer.status_code == 200
    found = answer.context["adminform"].form.errors
    return {"" if name == "__all__" else name: [str(each) for each in texts] for name, texts in found.items()}


def shown(client: Client, row: Schedule) -> dict[str, str]:
    """What a browser would send of the form of this row if nobody touched it."""
    page = client.get(url("change", row)).content.decode()
    form = page.partition('id="schedule_form"')[2].partition("</form>")[0]
    values: dict[str, str] = {}
    for tag in re.findall(r"<input [^>]*>", form):
        attrs = _attributes(tag)
        kind, name = attrs.get("type"), attrs.get("name")
        if name is None or kind == "submit" or (kind in {"radio", "checkbox"} and not re.search(r"\schecked", tag)):
            continue
        values[name] = attrs.get("value", "on" if kind == "checkbox" else "")
    for tag, text in re.findall(r"(<textarea [^>]*>)(.*?)</textarea>", form, re.DOTALL):
        values[_attributes(tag)["name"]] = unescape(text).removeprefix("\n").replace("\n", "\r\n")
    for tag, options in re.findall(r"(<select [^>]*>)(.*?)</select>", form, re.DOTALL):
        chosen = re.findall(r"<option [^>]*\sselected[^>]*>", options) or re.findall(r"<option [^>]*>", options)
        values[_attributes(tag)["name"]] = _attributes(chosen[0]).get("value", "")
    values.pop("csrfmiddlewaretoken", None)
    return values


def _attributes(tag: str) -> dict[str, str]:
    return {name: unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}


def change(client: Client, row: Schedule, **changes: Any) -> Any:
    values = {**shown(client, row), **changes}
    return client.post(url("change", row), {name: value for name, value in values.items() if value is not None})


def user(*codenames: str) -> Client:
    """A client of somebody with these permissions of the app, and no others."""
    who = User.objects.create_user(f"user{User.objects.count()}", is_staff=True)
    for name in codenames:
        who.user_permissions.add(Permission.objects.get(content_type__app_label="taskq_django", codename=name))
    client = Client()
    client.force_login(who)
    return client


def texts(answer: Any) -> list[str]:
    """The messages that the next page shows."""
    return [str(message) for message in answer.context["messages"]]
