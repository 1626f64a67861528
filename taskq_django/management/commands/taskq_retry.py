"""``manage.py taskq_retry ID…`` or ``--failed``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import control
from ...brokers import Broker
from ...exceptions import counted
from ...models import JobResult
from ...states import State
from ..backends import add_backend, chosen_brokers


class Command(BaseCommand):
    help = "Run jobs again that failed, were cancelled or expired; their attempts stay in their story."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help="Of a job.")
        parser.add_argument("--failed", action="store_true", help="Those that FAILED, the oldest first.")
        parser.add_argument("--task", help="With --failed: only of this task (its path). Default: any.")
        parser.add_argument("--queue", help="With --failed: only of this queue. Default: any.")
        parser.add_argument("--limit", type=int, default=1000, help="With --failed: at most so many. Default: 1000.")
        add_backend(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        if bool(given["ids"]) == given["failed"]:
            raise CommandError("Say which jobs: either ids or --failed.")
        wanted = set(map(control.stored_id, given["ids"]))
        count = 0
        for broker in chosen_brokers(given["backend"]):
            ids = wanted or self._failed(broker, given, given["limit"] - count)
            count += len(control.retry(ids, broker))
        self.stdout.write(f"{counted(count, 'job')} will run again")
        if count < len(wanted):
            raise CommandError("The others have succeeded, have not ended, or are not known.")

    def _failed(self, broker: Broker, given: dict[str, Any], limit: int) -> list[str]:
        asked = {"task_path": given["task"], "queue_name": given["queue"]}
        only = {name: value for name, value in asked.items() if value}
        rows = JobResult.objects.using(broker.database).filter(backend=broker.alias, status=State.FAILED, **only)
        return [str(id_) for id_ in rows.order_by("id").values_list("id", flat=True)[:limit]]
