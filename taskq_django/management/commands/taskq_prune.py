"""``manage.py taskq_prune``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ...backend import databases_of
from ...exceptions import counted
from ...store import pruning
from ..backends import chosen_brokers, in_a_line
from ..flags import add_backend


class Command(BaseCommand):
    help = "Remove old results now. Workers do so by themselves."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Count them only.")
        add_backend(parser)

    @in_a_line()
    def handle(self, *args: Any, **given: Any) -> None:
        # Without a choice also those of backends that TASKS has no longer.
        chosen = given["backend"] or None
        for database in databases_of(chosen_brokers(chosen)):
            if given["dry_run"]:
                said = f"{counted(pruning.count_old(database, chosen), 'result')} would be removed"
            else:
                count = pruning.prune_all(database, chosen)
                said = f"{counted(count, 'result or attempt', 'results or attempts')} removed"
            self.stdout.write(f"{database}: {said}")
