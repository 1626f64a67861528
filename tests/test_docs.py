"""The docs name everything that a user can meet, and the tutorial works as it is written."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from django.core.management import load_command_class

import taskq_django
from taskq_django import checks, conf, exceptions, signals
from taskq_django.declaration import options
from taskq_django.tasks import Task

ROOT = Path(__file__).parents[1]
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


def blocks(text: str, name: str | None = None) -> list[str]:
    """The bodies of the Python code blocks; with ``name``, of that one."""
    found = re.findall(r"^( *)\.\. code-block:: python\n((?:\1 +.*\n|\n)+)", text, re.MULTILINE)
    bodies = [textwrap.dedent(body) for _, body in found]
    named = {match[1]: body for body in bodies if (match := re.match(r"\s*:name: (\S+)\n", body))}
    return [named[name].split("\n", 1)[1]] if name else [re.sub(r"^:\w+:.*\n", "", body.lstrip()) for body in bodies]


def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    text = (DOCS / "tutorials/first_task.rst").read_text()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "TASKQ_"))}
    env["PYTHONPATH"] = str(ROOT)

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path / "site1", env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    subprocess.run([sys.executable, "-m", "django", "startproject", "site1"], cwd=tmp_path, env=env, check=True)
    run("manage.py", "startapp", "shop")
    with (tmp_path / "site1/site1/settings.py").open("a") as settings:
        settings.write(blocks(text, "settings.py")[0])
    (tmp_path / "site1/shop/tasks.py").write_text(blocks(text, "tasks.py")[0])
    run("manage.py", "check", "--fail-level", "WARNING")
    run("manage.py", "makemigrations", "--check", "--dry-run")
    run("manage.py", "migrate")
    assert "READY" in run("manage.py", "shell", "-c", blocks(text, "enqueue")[0])
    log = run("manage.py", "taskq_worker", "--burst")
    assert "Ready" in log
    assert "succeeded task=shop.tasks.add" in log
    shown = run("manage.py", "shell", "-c", blocks(text, "read")[0])
    assert "3\n" in shown
    assert "KeyError: 'missing'" in shown
    run("manage.py", "migrate", "taskq_django", "zero")
