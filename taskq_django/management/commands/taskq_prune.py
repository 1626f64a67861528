"""``manage.py taskq_prune``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ... import pruning
from ...worker.process import databases_of
from ..doors import add_backend, chosen_brokers


class Command(BaseCommand):
    help = "Remove old results now. Workers do so by themselves."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Count them only.")
        add_backend(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        for database in databases_of(chosen_brokers(given["backend"])):
            count = pruning.count_old(database)
            if not given["dry_run"]:
                while pruning.prune_batch(database):
                    pass
            self.stdout.write(f"{database}: {count} results {'would be' if given['dry_run'] else 'were'} removed")
