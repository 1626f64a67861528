"""``manage.py taskq_status``"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...exceptions import counted, in_print, lasting
from ...status import QueueStatus, Status, read_status
from ...store.beat_sign import BeatStatus
from ..backends import chosen_brokers
from ..flags import add_backend

ROWS_ONLY = "rows alone: its engine cannot be asked"


class Command(BaseCommand):
    help = "Show what waits and runs in each queue, and who is working."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="One JSON object; times are in seconds.")
        add_backend(parser)

    def handle(self, *args: Any, **given: Any) -> None:
        brokers = chosen_brokers(given["backend"])
        status = read_status(brokers)
        # Else it would be all but empty.
        if status.queues or status.workers or len(status.unanswered) < len(brokers):
            self.stdout.write(json.dumps(asdict(status), indent=2) if given["json"] else _as_text(status))
        if status.unanswered:
            raise CommandError("\n".join(f"{alias}: {why}" for alias, why in status.unanswered.items()))


def _ago(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else lasting(seconds)


def _paused(queue: QueueStatus) -> str:
    rest = f" for {lasting(queue.paused_for)} more" if queue.paused_for is not None else ""
    return f"paused{rest}" + (f": {in_print(queue.reason)}" if queue.reason else "")


def _beat(beat: BeatStatus) -> str:
    seen = "no beat yet" if beat.seen is None else f"beat seen {_ago(beat.seen)} ago"
    line = f"{beat.database}: {counted(beat.schedules, 'schedule')} to fire, {seen}"
    return f"{line}  NO BEAT IS ALIVE: start one with manage.py taskq_worker --beat" if beat.is_missing else line


def _as_text(status: Status) -> str:
    lines = [f"{'queue':<32} {'ready':>8} {'oldest':>12} {'scheduled':>10} {'running':>8}"]
    for queue in status.queues:
        oldest = "-" if queue.oldest_ready is None else _ago(queue.oldest_ready)
        name = f"{queue.backend}/{queue.queue}"
        row = f"{name:<32} {queue.ready:>8} {oldest:>12} {queue.scheduled:>10} {queue.running:>8}"
        notes = [_paused(queue)] * queue.paused + [ROWS_ONLY] * (queue.backend in status.unanswered)
        lines.append("  ".join([row, *notes]))
    lines += ["", f"{'worker':<32} {'host':<20} {'pid':>8} {'processes':>10} {'seen':>12}  queues"]
    for worker in status.workers:
        row = f"{worker.name:<32} {worker.host:<20} {worker.pid:>8} {worker.processes:>10} {_ago(worker.seen):>12}"
        lines.append(
            f"{row}  {worker.queues or 'all'}"
            + (f" but {worker.excluded}" if worker.excluded else "")
            + ("" if worker.alive else "  LOST")
            + ("  NO PROCESS CAN RUN JOBS" if worker.alive and worker.serving == 0 else "")
            + (f"  {worker.state}" if worker.alive and worker.state in {"QUIET", "STOPPING"} else "")
        )
    if not any(worker.alive for worker in status.workers):
        lines.append("No worker is alive: start one with manage.py taskq_worker")
    lines += [_beat(beat) for beat in status.beats if beat.schedules or beat.alive]
    lines.append("")
    for span, counts in (("hour", status.recent), ("day", status.day)):
        ended = ", ".join(f"{state.lower()} {count}" for state, count in sorted(counts.items()))
        lines.append(f"enqueued in the last {span} and ended: {ended or 'none'}{' or more' if status.more else ''}")
    return "\n".join(lines)
