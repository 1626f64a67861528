"""``manage.py taskq_tasks``"""

from __future__ import annotations

import json
from inspect import Parameter, getdoc
from types import NoneType
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ...codec.rebuilding import hints_of
from ...exceptions import counted, lasting
from ...registry import registry
from ...tasks import Task, parameters_of
from ..backends import in_a_line


class Command(BaseCommand):
    help = "Show the tasks that this project has: how each is called, where it waits, when it is scheduled."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="One JSON list; times are in seconds.")

    @in_a_line()
    def handle(self, *args: Any, **given: Any) -> None:
        tasks = [_facts(task) for task in registry.all()]
        if given["json"]:
            self.stdout.write(json.dumps(tasks, indent=2))
        else:
            for task in tasks:
                self.stdout.write(_as_text(task))
        if not tasks:
            self.stderr.write(self.style.WARNING("No task is known: put @task functions into the tasks.py of an app."))


def _facts(task: Task[..., Any]) -> dict[str, Any]:
    return {
        "path": task.module_path,
        "signature": signature_text(task),
        "doc": (getdoc(task.func) or "").strip().partition("\n")[0],
        "backend": task.backend,
        "queue": task.queue_name,
        "priority": task.priority,
        "max_attempts": task.attempts_allowed,
        "timeout": task.timeout,
        "schedules": [f"{each.spec} {each.zone_name}" if each.kind == "cron" else each.spec for each in task.schedule],
    }


def signature_text(task: Task[..., Any]) -> str:
    """``(x: int, y: int = 2) -> int``, without the context."""
    known, hints = parameters_of(task.func, task.takes_context)[0], hints_of(task.func)
    parameters = [each.replace(annotation=hints.get(each.name, Parameter.empty)) for each in known.parameters.values()]
    returned = hints.get("return", Parameter.empty)
    return str(known.replace(parameters=parameters, return_annotation=None if returned is NoneType else returned))


def _as_text(task: dict[str, Any]) -> str:
    told = [f"{task['backend']}/{task['queue']}"]
    if task["priority"]:
        told.append(f"priority {task['priority']}")
    told.append(counted(task["max_attempts"], "attempt"))
    if task["timeout"] is not None:
        told.append(f"timeout {lasting(task['timeout'])}")
    told += [f"scheduled {when}" for when in task["schedules"]]
    lines = [f"{task['path']}{task['signature']}", *filter(None, [task["doc"]]), ", ".join(told)]
    return "\n    ".join(lines)
