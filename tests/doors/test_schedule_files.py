"""``taskq_schedules export`` and ``import``: what is exported comes back, and a mistake writes nothing."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError

from taskq_django import cron, task
from taskq_django.beat import declared
from taskq_django.models import Schedule
from taskq_django.models.schedule import OWNED_BY_PEOPLE
from tests.app import tasks
from tests.app.signatures import typed

pytestmark = pytest.mark.django_db

ADD = tasks.add.module_path
Call = Callable[..., str]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """What a verb prints."""

    def run(verb: str, *arguments: str | Path) -> str:
        call_command("taskq_schedules", verb, *map(str, arguments))
        return capsys.readouterr().out

    return run


@pytest.fixture
def import_(call: Call, tmp_path: Path) -> Call:
    """The same of an import of these entries."""

    def run(*entries: Any, **flags: bool) -> str:
        file = tmp_path / "schedules.json"
        file.write_text(json.dumps(entries))
        return call("import", file, *["--dry-run"] * flags.get("dry_run", False))

    return run


def refusal(import_: Call, *entries: Any) -> str:
    before = list(Schedule.objects.order_by("pk").values())
    with pytest.raises(CommandError) as refused:
        import_(*entries)
    assert list(Schedule.objects.order_by("pk").values()) == before
    said = str(refused.value)
    assert said.endswith("Nothing was written.")
    return said.removesuffix("\nNothing was written.")


def entry(name: str = "nightly", **fields: Any) -> dict[str, Any]:
    return {"name": name, "task_path": ADD, "args": [1], "spec": "0 3 * * *", **fields}


@pytest.fixture
def some() -> list[Schedule]:
    day = declared.stored_call([], {"day": date(2030, 1, 1)}, typed)[1]
    rows: list[dict[str, Any]] = [
        {"name": "ünïcode – ☕"},
        {"name": "B", "kind": "interval", "spec": "5 minutes", "jitter": 30, "overlap": "skip", "max_runs": 4},
        {"name": "a", "kind": "once", "spec": "2040-12-24 18:00", "timezone": "America/New_York", "priority": -7},
        {"name": "off", "enabled": False, "task_path": "gone.tasks.old", "disabled_reason": "no longer", "kwargs": day},
        {"name": "spaced", "spec": "0  3 * *  *", "note": "two\nlines", "queue_name": "mail", "expires": 60},
        {
            "name": "between",
            "start_at": datetime(2030, 1, 1, 12, tzinfo=UTC),
            "end_at": datetime(2031, 1, 1, 0, 0, 0, 123456, tzinfo=UTC),
            "misfire": "all",
            "misfire_cap": 5,
            "backend": "default",
        },
    ]
    given = {"task_path": ADD, "args": [1], "spec": "0 3 * * *", "timezone": "UTC"}
    return [Schedule.objects.create(**{**given, **row}) for row in rows]


def test_what_is_exported_comes_back_equal(some: list[Schedule], call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(exported := call("export"))
    kept = {row["name"]: row for row in Schedule.objects.values(*OWNED_BY_PEOPLE)}
    Schedule.objects.all().delete()

    said = call("import", tmp_path / "file")

    assert said.endswith("6 created, 0 changed, 0 as they were\n")
    assert {row["name"]: row for row in Schedule.objects.values(*OWNED_BY_PEOPLE)} == kept
    assert call("export") == exported
    assert Schedule.objects.exclude(enabled=False).filter(next_run_at=None).count() == 0


def test_an_export_is_in_the_order_of_names_and_says_what_people_own(some: list[Schedule], call: Call) -> None:
    rows = json.loads(call("export"))

    assert [row["name"] for row in rows] == sorted(row.name for row in some)
    assert all(tuple(row) == OWNED_BY_PEOPLE for row in rows)
    Schedule.objects.update(run_count=7, last_run_at=datetime(2030, 1, 1, tzinfo=UTC), version=9)
    assert json.loads(call("export")) == rows


def test_an_import_of_what_is_there_touches_nothing(some: list[Schedule], call: Call, tmp_path: Path) -> None:
    """Also of rows that could not be imported anew, as those whose task is gone."""
    Schedule.objects.filter(name="B").update(task_path="gone.too")
    before = list(Schedule.objects.order_by("pk").values())
    (tmp_path / "file").write_text(call("export"))

    assert call("import", tmp_path / "file") == "0 created, 0 changed, 6 as they were\n"

    assert list(Schedule.objects.order_by("pk").values()) == before


def test_what_a_file_leaves_out_stays_and_what_it_changes_is_planned_anew(import_: Call) -> None:
    row = Schedule.objects.create(**entry(note="kept", jitter=5))
    Schedule.objects.filter(pk=row.pk).update(run_count=3)

    said = import_(entry(spec="0 4 * * *", timezone="UTC"), entry("new"))

    assert said == "new: created\nnightly: changed spec, timezone\n1 created, 1 changed, 0 as they were\n"
    changed = Schedule.objects.get(pk=row.pk)
    assert (changed.note, changed.jitter, changed.run_count, changed.version) == ("kept", 5, 3, 2)
    assert changed.next_run_at.astimezone(UTC).hour == 4
    assert Schedule.objects.get(name="new").next_run_at is not None


def test_a_dry_run_says_the_same_and_writes_nothing(import_: Call) -> None:
    Schedule.objects.create(**entry())
    before = list(Schedule.objects.values())

    said = import_(entry(spec="0 4 * * *"), entry("new"), dry_run=True)

    assert "new: created\nnightly: changed spec\n1 created, 1 changed, 0 as they were (dry run" in said
    assert list(Schedule.objects.values()) == before


def test_standard_input_is_read_by_a_dash(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps([entry()])))
    assert call("import", "-") == "nightly: created\n1 created, 0 changed, 0 as they were\n"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"spec": "0 25 * * *"}, "bad: spec: "),
        ({"timezone": "Europe/Nowhere"}, "bad: timezone: "),
        ({"kind": "lunar"}, "bad: kind: "),
        ({"task_path": "shop.tasks.gone"}, "bad: No task is registered as 'shop.tasks.gone'"),
        ({"args": []}, "bad: tests.app.tasks.add(x: 'int', y: 'int' = 2) -> 'int' cannot be enqueued"),
        ({"args": {"x": 1}}, "bad: args: "),
        ({"kwargs": None}, "bad: kwargs: it cannot be null"),
        ({"jitter": "long"}, "bad: jitter: "),
        ({"misfire": "perhaps"}, "bad: misfire: "),
        ({"queue_name": "no queue"}, "is no queue name"),
        ({"backend": "nope"}, "bad: "),
        ({"start_at": "2030-01-01T00:00"}, "bad: start_at: it must be a moment with its offset"),
        ({"end_at": 5}, "bad: end_at: it must be a moment with its offset"),
        ({"enabeld": False}, 'bad: it has no field "enabeld". Did you mean "enabled"?'),
        ({"run_count": 3}, 'bad: it has no field "run_count".'),
        ({"name": None}, 'entry 2: it has no "name".'),
        ({"name": "x" * 201}, "name: "),
        ({"name": "fine"}, "fine: this file names it twice."),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_one_wrong_entry_and_nothing_is_written(import_: Call, wrong: dict[str, Any], why: str) -> None:
    assert why in refusal(import_, entry("fine"), {**entry("bad"), **wrong})


def test_every_mistake_is_named_at_once(import_: Call) -> None:
    said = refusal(import_, entry("a", spec="never"), 5, entry("b", jitter=-1), entry("c", task_path="x.y"))

    assert [line.partition(":")[0] for line in said.splitlines()] == ["a", "entry 2", "b", "c"]


@pytest.mark.parametrize("text", ["", "{}", "[1", '"x"', "\ufeff[]", "[" * 100_000])
def test_what_is_no_list_of_schedules_is_refused(call: Call, tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(CommandError, match=r"This is no (JSON|list of schedules)"):
        call("import", tmp_path / "file")


def test_a_file_that_cannot_be_read_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xe4")
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / "latin"):
        with pytest.raises(CommandError, match=f"{path} cannot be read"):
            call("import", path)


@pytest.mark.django_db(transaction=True)
def test_a_database_that_refuses_one_row_gets_none(import_: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where somebody makes a schedule of that name meanwhile."""
    save = Schedule.save

    def refuse(self: Schedule, *args: Any, **kwargs: Any) -> None:
        if self.name == "second":
            raise IntegrityError("UNIQUE")
        save(self, *args, **kwargs)

    monkeypatch.setattr(Schedule, "save", refuse)

    with pytest.raises(CommandError, match="the database refuses this: UNIQUE"):
        import_(entry("first"), entry("second"))
    assert not Schedule.objects.exists()


# --- schedules that the code declares ---------------------------------------------------------------------------------


def nightly(x: int) -> None: ...


@pytest.fixture
def in_code() -> str:
    made = task(schedule=cron("0 3 * * *", timezone="UTC", kwargs={"x": 1}, name="from code"))(nightly)
    declared.sync("default")
    return made.module_path


def test_a_schedule_of_the_code_stays_one_where_it_is_imported(in_code: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(call("export"))
    Schedule.objects.all().delete()

    call("import", tmp_path / "file")
    declared.sync("default")

    assert Schedule.objects.get(task_path=in_code).declared_as == "from code"


def test_a_schedule_of_the_code_is_found_by_its_declaration_though_its_name_differs(
    in_code: str, call: Call, tmp_path: Path
) -> None:
    text = call("export")
    (tmp_path / "file").write_text(text.replace('"name": "from code"', '"name": "renamed"'))

    assert "renamed: changed name\n" in call("import", tmp_path / "file")

    declared.sync("default")
    assert Schedule.objects.get(task_path=in_code).name == "renamed"


@pytest.mark.parametrize("more", [{}, {"is_overridden": False}], ids=["short", "as exported"])
def test_what_an_import_says_otherwise_than_the_code_is_left_by_the_beat(
    in_code: str, import_: Call, more: dict[str, Any]
) -> None:
    edited = {"name": "from code", "spec": "0 5 * * *", **more}

    assert "from code: changed spec, is_overridden\n" in import_(edited)
    declared.sync("default")
    assert Schedule.objects.get(task_path=in_code).spec == "0 5 * * *"

    assert import_(edited).endswith("0 created, 0 changed, 1 as they were\n")


def test_an_import_of_what_the_code_says_gives_the_schedule_back_to_it(
    in_code: str, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text(call("export"))
    Schedule.objects.update(spec="0 5 * * *", is_overridden=True)

    assert "from code: changed spec, is_overridden\n" in call("import", tmp_path / "file")

    assert not Schedule.objects.get(task_path=in_code).is_overridden


def test_a_sync_tells_apart_what_python_takes_for_equal(in_code: str) -> None:
    Schedule.objects.update(kwargs={"x": True})
    declared.sync("default")
    assert Schedule.objects.get(task_path=in_code).kwargs["x"] is not True


@pytest.mark.parametrize("before", [1, 1.0, True], ids=repr)
@pytest.mark.parametrize("after", [1, 1.0, True], ids=repr)
def test_what_python_takes_for_equal_is_another_argument(import_: Call, before: Any, after: Any) -> None:
    row = Schedule.objects.create(**entry(args=[before]))

    import_(entry(args=[after]))

    row.refresh_from_db()
    assert type(row.args[0]) is type(after)


def test_two_entries_never_become_one_row(in_code: str, call: Call, import_: Call) -> None:
    mine = next(row for row in json.loads(call("export")) if row["declared_as"])

    assert "this file names it twice" in refusal(import_, {**mine, "name": "other"}, {**mine, "declared_as": ""})
    Schedule.objects.create(**entry("taken"))
    assert 'it is "from code" here, and another row has this name.' in refusal(import_, {**mine, "name": "taken"})
