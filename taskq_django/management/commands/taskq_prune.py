"""``manage.py taskq_prune``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ...backend import databases_of
from ...exceptions import counted
from ...store import pruning
from ..backends import add_backend, chosen_brokers


class Command(BaseCommand):
    help = "Remove old results now. Workers do so by themselves."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Count them only.")
        add_backend(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        for database in databases_of(chosen_brokers(given["backend"])):
            if given["dry_run"]:
                said = f"{counted(pruning.count_old(database), 'result')} would be removed"
            else:
                said = f"{counted(pruning.prune_all(database), 'result or attempt', 'results or attempts')} removed"
            self.stdout.write(f"{database}: {said}")
