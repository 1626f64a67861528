from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

ROOT = Path(__file__).parents[2]
SETTINGS = """
import datetime, os
INSTALLED_APPS += ["taskq_django", "shop"]
globals().update(eval(os.environ["EXTRA"], {"datetime": datetime, "nan": float("nan"), "inf": float("inf")}))
"""
TASKS = """
from taskq_django import Backoff, TaskContext, every, task

@task(max_attempts=3, backoff=Backoff())
def add(x: int, y: int = 2) -> int:
    return x + y

@task(takes_context=True, sensitive=["pin"], queue_name="mail", schedule=every(hours=1, kwargs={"pin": "x"}))
def hide(context: TaskContext, pin: str) -> None: ...
"""
Manage = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def manage(tmp_path_factory: pytest.TempPathFactory) -> Manage:
    """``manage.py`` of a new project, whose urls import tasks."""
    folder = tmp_path_factory.mktemp("project")
    call_command("startproject", "site_", str(folder))
    (folder / "shop").mkdir()
    for name, text in (("__init__", ""), ("tasks", TASKS), ("views", "from .tasks import add, hide"), ("models", "")):
        (folder / "shop" / f"{name}.py").write_text(text)
    urls = folder / "site_" / "urls.py"
    urls.write_text(f"import shop.views\n{urls.read_text()}")
    with (folder / "site_" / "settings.py").open("a") as file:
        file.write(SETTINGS)

    def run(*arguments: str, before: str = "", stdin: str = "", **extra: Any) -> subprocess.CompletedProcess[str]:
        call = "from django.core.management import execute_from_command_line as run; import sys; run(sys.argv)"
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("TASKQ_", "DJANGO_"))}
        return subprocess.run(
            [sys.executable, "-c", f"{before}\n{call}", *arguments],
            cwd=folder,
            env={
                **keep,
                "DJANGO_SETTINGS_MODULE": "site_.settings",
                "EXTRA": repr(extra),
                "PYTHONPATH": f"{folder}:{ROOT}",
            },
            input=stdin,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run
