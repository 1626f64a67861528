"""``manage.py taskq_new_store_id``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from ...backend import databases_of
from ...brokers import Broker
from ...compat import task_backends
from ...conf.broker_url import parse_broker
from ...status import workers_in
from ...store.identity import renew
from ..backends import chosen_brokers, in_a_line
from ..flags import add_no_input


class Command(BaseCommand):
    help = "Give a copied database an id of its own, so that Redis does not take it for its original."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database",
            choices=tuple(connections),
            help="Alias in DATABASES. Default: the databases of all backends of ours.",
        )
        parser.add_argument("--force", action="store_true", help="Though a worker looks alive.")
        add_no_input(parser)

    @in_a_line()
    def handle(self, *args: Any, **given: Any) -> None:
        brokers = chosen_brokers(None)
        databases = [given["database"]] if given["database"] else databases_of(brokers)
        if not given["force"]:
            _refuse_beside_workers(databases)
        if given["interactive"]:
            answer = input(f"Jobs in Redis stay with the old id. Give {', '.join(databases)} another? Type yes: ")
            if answer != "yes":
                raise CommandError("Nothing was changed.")
        for database in databases:
            self.stdout.write(f"{database}: its store has the id {renew(database)} now")
        for broker in brokers:
            if broker.database in databases and (name := _name_in_engine(broker)):
                self.stdout.write(
                    f'{broker.alias}: where the name "{name}" is in use it is the original\'s. Set another '
                    'OPTIONS["name"], or the URL of another server. Only where there is no original any more, '
                    f"redis-cli DEL 'taskq:{{{name}}}:store' hands the name over, and the jobs that wait under it."
                )


def _refuse_beside_workers(databases: list[str]) -> None:
    """Raises CommandError: a worker goes on with the id that it has read."""
    for database in databases:
        for worker in workers_in(database):
            if worker.alive:
                raise CommandError(
                    f"{database}: the worker {worker.name} gave a sign of life {worker.seen:.0f} s ago, and would go "
                    "on with the old id. Stop it first. If this is a copy that is younger than a LEASE, it may be a "
                    "worker of the original: then wait, or use --force."
                )


def _name_in_engine(broker: Broker) -> str:
    """What the keys of a backend begin with; "" where its jobs wait in the database alone."""
    asked = task_backends[broker.alias].taskq_options  # type: ignore[attr-defined]
    return (asked.name or broker.alias) if parse_broker(asked.broker).transport else ""
