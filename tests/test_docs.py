"""The docs name everything that a user can meet, and the tutorial works as it is written."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.core.management import load_command_class

import taskq_django
from taskq_django import checks, conf, exceptions, signals
from taskq_django.conf.declaration import options
from taskq_django.schedules import read_kind
from taskq_django.schedules.preview import offset_text, slots_after
from taskq_django.schedules.zones import change_between
from taskq_django.tasks import Task

ROOT = Path(__file__).parents[1]
SLOWLY = pytest.mark.timeout(900)  # a dozen commands, one after the other, on a machine that has others to do
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / "reference" / f"{name}.rst").read_text()


def names_of(module: object, kind: type) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if (isinstance(value, type) and issubclass(value, kind) and value.__module__ == module.__name__)  # type: ignore[attr-defined]
    ]


@pytest.mark.parametrize("name", names_of(exceptions, Exception))
def test_every_exception_has_its_paragraph(name: str) -> None:
    assert re.search(rf"^``{name}``$", page("exceptions"), re.MULTILINE)


def test_every_signal_is_listed_from_its_declaration() -> None:
    assert ".. signals::" in page("signals")
    hooks = [value for value in vars(signals).values() if isinstance(value, signals.Hook)]
    assert hooks
    assert all(hook.doc and hook.arguments for hook in hooks)


@pytest.mark.parametrize("section", conf.SECTIONS)
def test_every_section_of_settings_is_listed_from_its_declaration(section: str) -> None:
    listed = f".. options:: {section}" in page("settings")
    assert listed or not options(conf.SECTIONS[section])
    assert all(option.doc for option in options(conf.SECTIONS[section]))


def test_backend_options_are_listed_from_their_declaration() -> None:
    assert ".. options:: OPTIONS" in page("settings")


@pytest.mark.parametrize(
    "name", [p.stem for p in (ROOT / "taskq_django/management/commands").glob("*.py") if p.stem != "__init__"]
)
def test_every_command_has_its_paragraph_and_its_flags(name: str) -> None:
    assert re.search(rf"^``{name}``$", page("commands"), re.MULTILINE)
    assert f".. command:: {name}" in page("commands")
    parser = load_command_class("taskq_django", name).create_parser("manage.py", name)
    assert all(action.help for action in parser._actions)


def test_every_check_is_listed_from_its_declaration() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "taskq_django").rglob("*.py") if path.stem != "messages")
    assert ".. checks::" in page("checks")
    assert set(checks.CHECKS) == set(re.findall(r'"(?:taskq_django\.)?([EW]\d{3})"', sources))


@pytest.mark.parametrize("name", taskq_django.__all__)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    assert any(f"``{name}``" in path.read_text() for path in (DOCS / "reference").glob("*.rst"))


@pytest.mark.parametrize("name", Task.__dataclass_fields__)
def test_every_option_of_a_task_has_its_paragraph(name: str) -> None:
    assert re.search(rf"^(``\w+``, )*``{name}``", page("tasks"), re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.rst").read_text().splitlines()) < 200


@pytest.mark.parametrize("path", sorted([*DOCS.rglob("*.rst"), ROOT / "README.rst"]), ids=lambda path: path.name)
def test_every_python_block_is_python(path: Path) -> None:
    for block in blocks(path.read_text()):
        ast.parse(block)


def blocks(text: str, name: str | None = None, *, language: str = "python") -> list[str]:
    """The bodies of the code blocks of that language; with ``name``, of that one."""
    found = re.findall(rf"^( *)\.\. code-block:: {language}\n((?:\1 +.*\n|\n)+)", text, re.MULTILINE)
    bodies = [textwrap.dedent(body) for _, body in found]
    named = {match[1]: body for body in bodies if (match := re.match(r"\s*:name: (\S+)\n", body))}
    return [named[name].split("\n", 1)[1]] if name else [re.sub(r"^:\w+:.*\n", "", body.lstrip()) for body in bodies]


def table(text: str) -> list[list[str]]:
    """The body of the first simple table."""
    _, _, body, *_ = re.split(r"^={3,}  =.*\n", text, flags=re.MULTILINE)
    return [re.split(r"\s{2,}", line.strip()) for line in body.splitlines()]


class Site:
    """A project as a tutorial has it made."""

    def __init__(self, home: Path, tutorial: str) -> None:
        self.home = home / "site1"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "TASKQ_"))}
        self.env["PYTHONPATH"] = str(ROOT)
        subprocess.run([sys.executable, "-m", "django", "startproject", "site1"], cwd=home, env=self.env, check=True)
        self.manage("startapp", "shop")
        with (self.home / "site1/settings.py").open("a") as settings:
            settings.write(blocks(tutorial, "settings.py")[0])
        (self.home / "shop/tasks.py").write_text(blocks(tutorial, "tasks.py")[0])

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=self.home, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def make_admin(self, tutorial: str) -> None:
        """Make the tables and the user by the lines of the tutorial, whose second one asks for a password."""
        create = "createsuperuser --username admin --email admin@example.com"
        assert f"python manage.py migrate\n    python manage.py {create}\n" in tutorial
        self.env["DJANGO_SUPERUSER_PASSWORD"] = "secret"
        self.manage("migrate")
        self.manage(*create.split(), "--noinput")

    def shell(self, code: str) -> str:
        return self.manage("shell", "-c", code)


# What a browser shows to the user that the tutorial has made.
LOOK = """
from django.contrib.auth.models import User
from django.test import Client
from django.test.utils import setup_test_environment
setup_test_environment()
client = Client()
print(client.login(username="admin", password="secret"))
for page in ("{}", "{}"):
    print(client.get(f"/admin/taskq_django/{{page}}/").content.decode())
"""


@pytest.mark.once
@SLOWLY
def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    text = (DOCS / "tutorials/first_task.rst").read_text()
    site = Site(tmp_path, text)

    site.manage("check", "--fail-level", "WARNING")
    site.manage("makemigrations", "--check", "--dry-run")
    site.make_admin(text)
    waiting = site.shell(blocks(text, "enqueue")[0] + LOOK.format("dashboard", "queuedjob"))
    assert "READY\nTrue\n" in waiting
    assert "No worker is alive" in waiting
    assert "explode" in waiting
    log = site.manage("taskq_worker", "--burst")
    assert "Ready" in log
    assert "succeeded task=shop.tasks.add" in log
    shown, page = site.shell(blocks(text, "read")[0] + LOOK.format("dashboard", "jobresult")).split("True\n", 1)
    assert "3\n" in shown
    assert "KeyError: 'missing'" in shown
    assert "shop.tasks.explode" in page
    site.manage("migrate", "taskq_django", "zero")


# What a browser does with the form: the fields by their labels, with those of the arguments of the chosen task.
FILL_IN = """
from django.contrib.auth.models import User
from django.test import Client
from django.test.utils import setup_test_environment
setup_test_environment()
given = {given!r}
client = Client()
client.force_login(User.objects.get(username="admin"))
url = "/admin/taskq_django/schedule/add/"
fields = list(client.get(url, {{"task_path": given["Task"]}}).context["adminform"].form)
values = {{field.html_name: field.value() for field in fields if field.value() not in {{None, ""}}}}
for label, value in given.items():
    [field] = [field for field in fields if field.label == label]
    choices = {{str(text): key for key, text in getattr(field.field, "choices", ()) if not isinstance(text, list)}}
    values[field.html_name] = choices.get(value, value)
answer = client.post(url, values)
print(answer.status_code, answer.context and answer.context["adminform"].form.errors.as_text())
"""


@pytest.mark.once
@SLOWLY
def test_the_tutorial_of_schedules_works_as_it_is_written(tmp_path: Path) -> None:
    text = (DOCS / "tutorials/first_schedule.rst").read_text()
    site = Site(tmp_path, text)
    site.make_admin(text)

    assert "302 None" in site.shell(FILL_IN.format(given=dict(table(text))))
    log = site.manage("taskq_worker", "-B", "--max-tasks", "1", "--no-reload")
    assert "Fired 'Greet the world'" in log
    assert "succeeded task=shop.tasks.greet" in log
    assert "Hello, world!" in site.shell(
        "from taskq_django.models import JobResult; print(JobResult.objects.get().return_value)"
    )

    site.manage("taskq_schedules", "disable", "Greet the world")
    with (site.home / "shop/tasks.py").open("a") as tasks:
        tasks.write(blocks(text, "more_tasks.py")[0])
    [run] = [line for line in site.manage("taskq_beat", "--dry-run").splitlines() if "shop.tasks" in line]
    assert re.search(r" 03:00:00 \+0[12]:00 Europe/Berlin  shop.tasks.clean_up  shop.tasks.clean_up", run)


@pytest.mark.once
@SLOWLY
def test_the_guide_to_schedules_works_as_it_is_written(tmp_path: Path) -> None:
    text = (DOCS / "guides/schedules.rst").read_text()
    site = Site(tmp_path, (DOCS / "tutorials/first_schedule.rst").read_text())
    (site.home / "shop/tasks.py").write_text(blocks(text, "code")[0])
    site.manage("migrate")

    assert "4 created" in site.manage("taskq_schedules", "sync")
    assert re.match(r"20\d\d-", site.shell(blocks(text, "create")[0]).splitlines()[-1])
    assert "can run" in site.manage("taskq_schedules", "check")
    site.shell(blocks(text, "update")[0])
    assert not site.manage("taskq_beat", "--once", "-v", "0")
    [digest] = [line for line in site.manage("taskq_schedules", "list").splitlines() if "Digest" in line]
    assert re.search(r"\[0 9 \* \* \* America/New_York\]  shop.tasks.send_digest  next run 20", digest)


@pytest.mark.once
@SLOWLY
def test_the_guide_to_progress_works_as_it_is_written(tmp_path: Path) -> None:
    text = (DOCS / "guides/progress.rst").read_text()
    site = Site(tmp_path, (DOCS / "tutorials/first_task.rst").read_text())
    for name, place in (("tasks.py", "shop"), ("views.py", "shop"), ("urls.py", "site1")):
        (site.home / place / name).write_text(blocks(text, name)[0])
    templates = site.home / "shop/templates/shop"
    templates.mkdir(parents=True)
    (templates / "watch.html").write_text(blocks(text, "watch.html", language="html\\+django")[0])
    site.manage("migrate")
    visit = """
from django.test import Client
from django.test.utils import setup_test_environment
setup_test_environment()
there = {0!r} or Client().get("/export/").url
print(there)
print(Client().get(there).content.decode())
"""

    page = site.shell(visit.format(""))
    address = re.search(r"^/export/[0-9a-f-]{36}/$", page, re.MULTILINE)[0]  # type: ignore[index]
    assert "Waiting" in page
    assert "It is ready" not in page
    site.manage("taskq_worker", "--burst")
    page = site.shell(visit.format(address))
    assert "1000 of 1000" in page
    assert "Writing rows" in page
    assert "It is ready: export.csv" in page

    worker = subprocess.Popen(
        [sys.executable, "manage.py", "taskq_worker", "--max-tasks", "2", "--no-reload"], cwd=site.home, env=site.env
    )
    try:
        assert "10 10 Writing rows\n20 20 Writing rows\n" in site.shell(blocks(text, "read")[0])
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()


CLOCKS = table((DOCS / "explanation/time.rst").read_text())


@pytest.mark.parametrize(("zone", "day", "clocks", "spec", "runs"), CLOCKS)
def test_the_table_of_clock_changes_is_what_the_code_does(
    zone: str, day: str, clocks: str, spec: str, runs: str
) -> None:
    midnight = datetime.fromisoformat(day)
    begin = midnight.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) - timedelta(hours=2)
    slots = islice(slots_after(read_kind("cron", spec.strip("`"), zone), begin), 10)
    local = [slot.astimezone(ZoneInfo(zone)) for slot in slots]
    morning = [at for at in local if midnight <= at.replace(tzinfo=None) < midnight + timedelta(hours=4)]
    change = change_between(ZoneInfo(zone), begin, begin + timedelta(hours=8))

    assert ", ".join(f"{at:%H:%M}{offset_text(at)}" for at in morning) == runs
    assert change is not None
    assert f"{change.old_wall:%H:%M} → {change.new_wall:%H:%M}" == clocks
