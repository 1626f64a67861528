"""Who enqueues, and the time that passes."""

from __future__ import annotations

from .states import FAULT, READY, RUNNING, SCHEDULED, UNSENT, Made, Message, Row, Setting, State

# By producer, what follows a publish that was taken; that was, and not heard of; that was not, nor; and that was not.
AFTER_PUBLISH = {
    "renew": ("confirm", "left", "left", "surely not"),
    "publish": ("done", "done", "failed", ""),
    "keep": ("done", "stand in late", "stand in late", "keep"),
}


def producer_steps(setting: Setting, s: State) -> Made:
    stands_in = s.row is not None and s.row.sender and s.row.status != RUNNING
    match s.producer:
        case "renew":
            is_mine = stands_in or (
                s.row is not None and s.row.sender and not setting.has("a renewal leaves what runs")
            )
            if is_mine and s.row:
                row = s.row._replace(status=SCHEDULED) if stands_in else s.row
                yield "producer: outbox.renew", s._replace(producer="publish", row=row)
            elif setting.has("only what was renewed is published"):
                yield "producer: outbox.renew, none is mine", s._replace(producer="done")
            else:
                yield "producer: outbox.renew, none is mine", s._replace(producer="publish")
        case "publish":
            message = s.message or Message()
            taken, unheard, unsent, refused = AFTER_PUBLISH[setting.producer]
            yield "producer: transport.publish", s._replace(producer=taken, message=message)
            if s.faults:
                less = s._replace(faults=s.faults - 1)
                yield "producer: transport.publish, no answer", less._replace(producer=unheard, message=message), FAULT
                yield "producer: transport.publish, not sent and no answer", less._replace(producer=unsent), FAULT
                if refused:
                    yield "producer: transport.publish, surely not", less._replace(producer=refused), FAULT
        case "confirm":
            yield "producer: outbox.confirmed", s._replace(producer="done", row=None if stands_in else s.row)
        case "surely not":
            row = s.row._replace(status=READY, sender=False) if stands_in and s.row else s.row
            yield "producer: outbox.surely_not_sent", s._replace(producer="done", row=row)
        case "stand in late":
            is_known = s.row is not None or s.result
            row = s.row if is_known else Row(SCHEDULED, 0, sender=True)
            yield "producer: outbox.stand_in_late", s._replace(producer="left", row=row)
        case "keep":
            yield "producer: rows.send", s._replace(producer="done", row=Row(READY, 0))
    if s.kills and s.producer in (*UNSENT, "renew", "confirm", "surely not"):
        unsent = setting.producer != "renew" and s.producer in UNSENT
        killed = s._replace(producer="failed" if unsent else "left", kills=s.kills - 1)
        yield "producer: killed", killed, FAULT


def store_steps(setting: Setting, s: State) -> Made:
    """Ten seconds pass only when the producer is done; or before it could renew, where the commit took so long."""
    is_time = s.producer in ("done", "left") or (setting.slow_commit and s.producer == "renew")
    if s.row and s.row.status == SCHEDULED and is_time:
        yield "rows.promote", s._replace(row=s.row._replace(status=READY))
