"""``manage.py taskq_health``: a probe."""

from __future__ import annotations

import json
from socket import gethostname
from typing import Any

from django.core.mail import mail_admins
from django.core.management.base import BaseCommand, CommandParser

from ...exceptions import counted, in_print, one_line
from ...status import Status, alive_after_all, read_status, why_unanswered
from ...store.connections import OUTAGE
from ..backends import chosen_brokers
from ..flags import add_backend, number

LONGEST_SUBJECT = 200  # characters


class Command(BaseCommand):
    help = "Exit with 0 when jobs are being worked on, else with 1 and the reasons."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--min-workers", type=number(int, 0), metavar="N", default=1, help="So many must be alive. Default: 1."
        )
        parser.add_argument(
            "--max-age",
            type=number(float, 0, 10**9),
            metavar="SECONDS",
            help="A ready job may wait so long. Default: no limit.",
        )
        parser.add_argument(
            "--max-backlog", type=number(int, 0, 10**9), metavar="N", help="Ready jobs at most. Default: no limit."
        )
        parser.add_argument("--json", action="store_true", help="One JSON object.")
        parser.add_argument("--mail-admins", action="store_true", help="Mail the reasons to ADMINS too.")
        add_backend(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        brokers = chosen_brokers(given["backend"])
        try:
            status = read_status(brokers)
            reasons = [f"{alias}: {why}" for alias, why in status.unanswered.items()]
            if not reasons:  # else the rest is half of the truth
                doubted = [worker for worker in status.workers if worker.doubtful]
                alive = len(status.workers) - len(doubted)
                if alive < given["min_workers"] and doubted:
                    alive += alive_after_all(doubted, brokers)
                reasons = _reasons(status, alive, given)
        except OUTAGE as error:  # it has gone away meanwhile
            reasons = [why_unanswered(error)]
        if given["json"]:
            self.stdout.write(json.dumps({"healthy": not reasons, "reasons": reasons}))
        else:
            self.stdout.write("\n".join(reasons) or "healthy")
        if reasons and given["mail_admins"]:
            self._mail(reasons)
        if reasons:
            raise SystemExit(1)

    def _mail(self, reasons: list[str]) -> None:
        subject = f"Jobs are not well on {gethostname()}: {reasons[0]}"
        try:
            mail_admins(in_print(subject)[:LONGEST_SUBJECT], "\n".join(reasons))
        except OSError as error:  # the reasons are printed all the same
            self.stderr.write(self.style.ERROR(f"The mail to ADMINS was not sent: {one_line(error)}"))


def _reasons(status: Status, alive: int, limits: dict[str, Any]) -> list[str]:
    reasons, least = [], limits["min_workers"]
    unable = [worker.name for worker in status.workers if worker.alive and worker.serving == 0]
    if alive < least:
        reasons.append(f"{counted(alive, 'worker')} alive, fewer than {least}: start one with manage.py taskq_worker")
    elif alive - len(unable) < least:
        reasons.append(f"no process of {', '.join(unable)} can run jobs now: see the log of the worker")
    if limits["max_age"] is not None and status.oldest_ready > limits["max_age"]:
        reasons.append(f"a job has been ready for {status.oldest_ready:.1f} s, longer than {limits['max_age']:g} s")
    if limits["max_backlog"] is not None and status.ready > limits["max_backlog"]:
        reasons.append(f"{counted(status.ready, 'job')} ready, more than {limits['max_backlog']}")
    return reasons
