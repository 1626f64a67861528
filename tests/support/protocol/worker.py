"""What a worker process does: MessageBroker.claim, the run, MessageBroker.settle. It holds one claim at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .states import (
    FAULT,
    READY,
    RUNNING,
    SCHEDULED,
    W1,
    W2,
    Made,
    Row,
    Setting,
    State,
    Worker,
    came_of,
    recorded,
    settled_row,
    written,
)

MOST_ATTEMPTS = 6
AWAY = ("idle", "dead", "in flight", "out")  # phases in which nothing can be lost by a kill


def worker_steps(setting: Setting, s: State, name: str) -> Made:
    worker: Worker = getattr(s, name)

    def to(phase: str, **changes: Any) -> State:
        """``changes``: of the state; the worker stays as it is but for its phase."""
        return s._replace(**{name: worker._replace(phase=phase), **changes})

    def free(**changes: Any) -> State:
        return s._replace(**{name: Worker(is_late=worker.is_late), **changes})

    for label, after, *fault in _own_steps(setting, s, name, worker, to, free):
        yield (f"{name}: {label}", after, *fault)  # type: ignore[misc]
    if s.kills and worker.phase not in AWAY:
        less = {"kills": s.kills - 1}
        if worker.is_late:
            yield f"{name}: killed", to("out", **less), FAULT
            return
        if setting.freezes:
            frozen = worker._replace(is_late=True)
            yield (
                f"{name}: counted as lost",
                s._replace(**{name: frozen}, registered=s.registered - {name}, **less),
                FAULT,
            )
            return
        yield f"{name}: killed", to("dead", **less), FAULT
        if worker.phase == "settle" and worker.kind == "message":
            yield f"{name}: killed while it writes", to("in flight", **less), FAULT


def _own_steps(setting: Setting, s: State, name: str, worker: Worker, to: Any, free: Any) -> Iterator[Any]:
    row, attempt = s.row, worker.attempt
    is_mine = row is not None and row.holder == name and row.attempts == attempt and row.status == RUNNING
    is_there = s.message is not None and s.message.holder == name
    match worker.phase:
        case "idle":
            yield from _claims(setting, s, name, worker)
        case "row unheard":
            back = row._replace(status=READY, attempts=attempt - 1, holder="") if row and is_mine else row
            yield "rows.release_unanswered", free(row=back)
        case "unheard":
            is_own = is_there and s.message is not None and s.message.claimed_by == name
            if setting.has("claims without an answer go back") and is_own and s.message:
                yield "transport.release_unanswered", free(message=s.message._replace(holder="", claimed_by=""))
            else:
                yield "transport.release_unanswered, none", free()
        case "look":
            yield from _looks(setting, row, is_mine, to)
        case "find":
            yield ("transport.find, there", to("forget")) if s.message else ("transport.find, not there", to("mine?"))
            if s.faults:
                unasked = "postpone" if setting.has("without an answer it waits") else "mine?"
                yield "transport.find, no answer", to(unasked, faults=s.faults - 1), FAULT
        case "mine?":
            yield "outbox.still_mine", to("ready" if is_mine and not s.result else "forget")
        case "mine first":  # where the order is the wrong one
            yield "outbox.still_mine", to("find last" if is_mine and not s.result else "forget")
        case "find last":
            yield "transport.find", to("forget" if s.message else "ready")
        case "forget":
            yield "outbox.forget", free(row=None if is_mine else row)
        case "postpone":
            back = row._replace(status=SCHEDULED, attempts=attempt - 1, holder="") if row and is_mine else row
            if row and is_mine and back and not setting.has("an un-run return keeps the sender"):
                back = back._replace(sender=False)
            yield "outbox.postpone", free(row=back)
        case "ready" if worker.is_late:  # by the age of its lease
            if worker.kind == "row":
                yield "settle, un-run", settled_row(setting, free(), name, attempt, "un-run")
            else:
                waits = s.message._replace(holder="", claimed_by="") if s.message and is_there else s.message
                yield "transport.release", free(message=waits)
        case "ready" if attempt <= MOST_ATTEMPTS:
            yield "begins", s._replace(**{name: worker._replace(phase="runs", seat="begun")})
        case "runs":
            yield "ends", s._replace(**{name: worker._replace(phase="settle", seat="over")})
        case "settle" if worker.kind == "row":
            yield "rows.settle", settled_row(setting, free(), name, attempt, came_of(setting, attempt))
        case "settle" | "unsure" | "settle late":
            yield from _settles(setting, s, name, worker, to, free)
        case "ack":
            acked = None if is_there else s.message
            following = "settle late" if not setting.has("the store before the engine") else ""
            yield "transport.ack", to(following, message=acked) if following else free(message=acked)
            if s.faults and not following:
                gone = worker._replace(phase="gone", seat="")
                less = s._replace(**{name: gone}, faults=s.faults - 1)
                yield "transport.ack, no answer", less, FAULT
                yield "transport.ack, made and no answer", less._replace(message=acked), FAULT
        case "gone":
            yield "transport.ack, again", free(message=None if is_there else s.message)
        case "in flight":
            yield "its transaction is rolled back", to("dead")
            if name in s.registered or not setting.has("who is not registered writes nothing"):
                yield "its transaction commits", recorded(setting, to("dead"), attempt, came_of(setting, attempt))
            else:
                yield "its transaction finds itself dead", to("dead")
        case "dead" | "out":
            yield from _replaced(s, name)


def _claims(setting: Setting, s: State, name: str, worker: Worker) -> Iterator[Any]:
    row = s.row
    if row and row.status == READY and not worker.is_late and name in s.registered:
        claimed = row._replace(status=RUNNING, attempts=row.attempts + 1, holder=name)
        holding = Worker("look", "row", claimed.attempts)
        yield "rows.claim", s._replace(**{name: holding}, row=claimed)
        if s.faults:
            unheard = s._replace(**{name: holding._replace(phase="row unheard")}, row=claimed, faults=s.faults - 1)
            yield "rows.claim, no answer", unheard, FAULT
    if s.message and not s.message.holder:
        if name in s.joined or not setting.has("who has not joined claims nothing"):
            taken = s.message._replace(holder=name, claimed_by=name)
            holding = Worker("ready", "message", 1, is_late=worker.is_late)
            yield "transport.claim", s._replace(**{name: holding}, message=taken)
            if s.faults:
                unheard = s._replace(**{name: holding._replace(phase="unheard")}, message=taken, faults=s.faults - 1)
                yield "transport.claim, no answer", unheard, FAULT
        elif name in s.registered:
            yield "transport.join", s._replace(joined=s.joined | {name})
    if worker.is_late:
        yield "leaves", s._replace(**{name: worker._replace(phase="out")})


def _looks(setting: Setting, row: Row | None, is_mine: bool, to: Any) -> Iterator[Any]:
    if setting.has("what is not surely its own is doubtful"):
        is_doubtful = not (is_mine and row and not row.sender)
    else:
        is_doubtful = row is not None and row.sender
    if not setting.has("the engine is asked before it begins"):
        is_doubtful = False
    ask = "find" if setting.has("the store is asked after the engine") else "mine first"
    yield "outbox.doubtful", to(ask if is_doubtful else "ready")


def _settles(setting: Setting, s: State, name: str, worker: Worker, to: Any, free: Any) -> Iterator[Any]:
    attempt, how = worker.attempt, came_of(setting, worker.attempt)
    if worker.phase == "settle" and not setting.has("the store before the engine"):
        yield "transport.ack first", to("ack")
        return
    if worker.phase == "unsure" and written(setting, s):
        yield "inheritance.written", to("ack")
        return
    if name not in s.registered and setting.has("who is not registered writes nothing"):
        yield "rows.record, refused", free()
        return
    following = to("ack") if worker.phase != "settle late" else free()
    yield "rows.record", recorded(setting, following, attempt, how)
    if s.faults and worker.phase == "settle":
        yield "rows.record, no answer", recorded(setting, to("unsure", faults=s.faults - 1), attempt, how), FAULT
        yield "rows.record, not made and no answer", to("unsure", faults=s.faults - 1), FAULT


def _replaced(s: State, name: str) -> Iterator[Any]:
    """By a new process, which is here another one of the same name: once of this one nothing is left, if need be."""
    neighbour: Worker = getattr(s, W2 if name == W1 else W1)
    is_held = bool((s.row and s.row.holder == name) or (s.message and name in s.message))
    is_rescued = all(heir is None or heir.dead != name for heir in (s.chief, s.other))
    if neighbour.phase in ("dead", "out", "in flight") and not is_held and is_rescued and name not in s.joined:
        yield "replaced", s._replace(**{name: Worker()}, registered=s.registered | {name})
