"""``manage.py taskq_retry ID…`` or ``--failed``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import control
from ...brokers import Broker
from ...exceptions import counted, did_you_mean
from ...models import JobResult
from ...registry import registry
from ...states import LIVE, State
from ..backends import chosen_brokers, doubt, in_a_line, several
from ..flags import add_backend, add_ids, number, read_ids


class Command(BaseCommand):
    help = "Run jobs again that failed, were cancelled or expired; their attempts stay in their story."

    def add_arguments(self, parser: CommandParser) -> None:
        add_ids(parser, "*")
        parser.add_argument("--failed", action="store_true", help="Those that FAILED, the oldest first.")
        parser.add_argument("--task", help="With --failed: only of this task (its path). Default: any.")
        parser.add_argument("--queue", help="With --failed: only of this queue. Default: any.")
        parser.add_argument(
            "--limit",
            type=number(int, 1),
            metavar="N",
            default=1000,
            help="With --failed: at most so many. Default: 1000.",
        )
        add_backend(parser)

    @in_a_line()
    def handle(self, *args: Any, **given: Any) -> None:
        if bool(given["ids"]) == given["failed"]:
            raise CommandError("Say which jobs: either ids or --failed.")
        brokers = chosen_brokers(given["backend"])
        wanted = set(map(control.stored_id, read_ids(given["ids"])))
        again: set[str] = set()
        for broker in brokers:
            ids = self._failed(broker, given, given["limit"] - len(again)) if given["failed"] else wanted
            again |= control.retry(ids, broker)
        self.stdout.write(f"{counted(len(again), 'job')} will run again")
        if given["failed"] and not again:
            for text in filter(None, _doubts(given, brokers)):
                self.stderr.write(self.style.WARNING(text))
        if left := wanted - again:
            raise CommandError(" ".join(_why_not(left, brokers)))

    def _failed(self, broker: Broker, given: dict[str, Any], limit: int) -> list[str]:
        asked = {"task_path": given["task"], "queue_name": given["queue"]}
        only = {name: value for name, value in asked.items() if value}
        rows = JobResult.objects.using(broker.database).filter(backend=broker.alias, status=State.FAILED, **only)
        return [str(id_) for id_ in rows.order_by("id").values_list("id", flat=True)[:limit]]


def _doubts(given: dict[str, Any], brokers: list[Broker]) -> Iterator[str]:
    """What may be misspelt."""
    path, known = given["task"], [task.module_path for task in registry.all()]
    if path and path not in known:
        yield f'No task is registered as "{path}". {did_you_mean(path, known)}'.rstrip()
    if given["queue"]:
        yield doubt(given["queue"], brokers)


def _why_not(left: set[str], brokers: list[Broker]) -> Iterator[str]:
    """A sentence for each kind of those that cannot be retried."""
    states: dict[str, str] = {}
    for broker in brokers:
        states |= control.states_of(left - states.keys(), broker)
    kinds: dict[str, set[str]] = {"succeeded": set(), "live": set(), "unknown": set()}
    for id_ in left:
        state = states.get(id_)
        kinds["succeeded" if state == State.SUCCESSFUL else "live" if state in LIVE else "unknown"].add(id_)
    if kinds["succeeded"]:
        yield f"Have succeeded, and run again by a new enqueue only: {several(kinds['succeeded'])}."
    if kinds["live"]:
        yield f"These have not ended: {several(kinds['live'])}."
    if kinds["unknown"]:
        yield f"No backend that answers knows a job by the id {several(kinds['unknown'])}."
