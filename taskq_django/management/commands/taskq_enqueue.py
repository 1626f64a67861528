"""``manage.py taskq_enqueue TASK [x=1 …]``"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...backend import brokers_of
from ...compat import InvalidTask, InvalidTaskBackend
from ...exceptions import ArgumentError, ResultTimeout, TaskFailed, TaskNotFound, did_you_mean, one_line
from ...registry import registry
from ...results import Result
from ...states import State
from ...tasks import Task
from ..backends import in_a_line
from ..flags import number
from ..typed_call import read_call

NOT_ENDED = 3  # as a worker whose grace is over


class Command(BaseCommand):
    help = "Enqueue a job, and print its id."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        # Else no flag could stand between the task and its arguments.
        parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("task", metavar="TASK", help="Its path: shop.tasks.send_mail.")
        parser.add_argument(
            "arguments", metavar="NAME=VALUE", nargs="*", help="Its arguments, or VALUE alone for one by its position."
        )
        parser.add_argument("--queue", help="Default: the queue of the task.")
        parser.add_argument("--priority", type=number(int, -100, 100), metavar="N", help="Default: that of the task.")
        parser.add_argument("--backend", help="Alias in TASKS. Default: that of the task.")
        parser.add_argument(
            "--delay", type=number(float, 0, 10**9), metavar="SECONDS", help="Run it so much later. Default: at once."
        )
        parser.add_argument("--wait", action="store_true", help="Wait for its end, and print its return value as JSON.")
        parser.add_argument(
            "--timeout",
            type=number(float, 0, 10**9),
            metavar="SECONDS",
            help="With --wait: so long at most, then exit with 3. Default: as long as it takes.",
        )

    @in_a_line()
    def handle(self, *args: Any, **given: Any) -> None:
        task = _task_of(given)
        positional, named = read_call(task, given["arguments"])
        try:
            result = task.enqueue(*positional, **named)
        except ArgumentError as error:
            raise CommandError(one_line(error)) from error
        self.stdout.write(result.id)
        if result.state is State.CANCELLED:
            raise CommandError(f"A receiver of before_enqueue does not let it through: {result.reason}")
        if given["wait"]:
            self.stdout.flush()
            self._wait(result, given["timeout"])

    def _wait(self, result: Result[Any], timeout: float | None) -> None:
        try:
            value = result.get(timeout)
        except ResultTimeout as error:
            raise CommandError(one_line(error), returncode=NOT_ENDED) from error
        except TaskFailed as error:
            raise CommandError(one_line(error)) from error
        try:
            self.stdout.write(json.dumps(value, default=_plain))
        except (TypeError, ValueError):  # a key that JSON has no word for
            self.stdout.write(json.dumps(repr(value)))


def _task_of(given: dict[str, Any]) -> Task[..., Any]:
    """As the flags say. Raises CommandError, ConfigurationError."""
    path = given["task"]
    try:
        task = registry.find(path)
    except TaskNotFound as error:
        near = did_you_mean(path, (task.module_path for task in registry.all()))
        why = f'No task is registered as "{path}". {near}' if near else one_line(error)
        raise CommandError(f"{why} See manage.py taskq_tasks.") from error
    if given["wait"] and not task.store_result:
        raise CommandError(f"{path} keeps no result (store_result=False), so its end cannot be waited for.")
    if given["backend"] is not None:
        brokers_of((given["backend"],))
    asked = {
        "queue_name": given["queue"],
        "priority": given["priority"],
        "backend": given["backend"],
        "run_after": None if given["delay"] is None else timedelta(seconds=given["delay"]),
    }
    try:
        return task.using(**{name: value for name, value in asked.items() if value is not None})
    except (InvalidTask, InvalidTaskBackend) as error:
        raise CommandError(one_line(error)) from error


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (set, frozenset)) else str(value)
