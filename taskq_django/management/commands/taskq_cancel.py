"""``manage.py taskq_cancel ID…``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ... import control
from ...exceptions import BrokerError
from ...store.connections import OUTAGE
from ..backends import chosen_brokers, several, trouble
from ..flags import add_backend, add_ids, read_ids


class Command(BaseCommand):
    help = "Cancel jobs: waiting ones at once, running ones within seconds."

    def add_arguments(self, parser: CommandParser) -> None:
        add_ids(parser, "+")
        parser.add_argument("--reason", default="cancelled by taskq_cancel", help="Kept with the job.")
        add_backend(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        left = frozenset(map(control.stored_id, read_ids(given["ids"])))
        ended_before: frozenset[str] = frozenset()
        problems = []
        for broker in chosen_brokers(given["backend"]):
            try:
                done = control.cancel(left, broker, reason=given["reason"])
            except (BrokerError, *OUTAGE) as error:
                problems.append(trouble(broker, error))
                continue
            for id_ in sorted(done.ended):
                self.stdout.write(f"{id_}: cancelled")
            for id_ in sorted(done.asked):
                self.stdout.write(f"{id_}: its worker will end it")
            ended_before |= done.ended_before
            left = left - done.ended - done.asked - done.ended_before
        unheard = [f"Had ended already: {several(ended_before)}."] if ended_before else []
        if left:
            who = "No backend that answers knows a job by" if problems else "No job is known by"
            unheard.append(f"{who} the id {several(left)}.")
        if unheard:
            problems.append(" ".join(unheard))
        if problems:
            raise CommandError("\n".join(problems))
