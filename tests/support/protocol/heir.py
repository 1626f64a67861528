"""What a supervisor does with the jobs of the dead: Broker.orphans, and the settle that follows."""

from __future__ import annotations

from typing import Any

from .states import (
    CHIEF,
    FAULT,
    OTHER,
    RUNNING,
    W1,
    W2,
    Heir,
    Made,
    Setting,
    State,
    Worker,
    recorded,
    settled_row,
    written,
)  # fmt: skip

FIELDS = {CHIEF: "chief", OTHER: "other"}


def heir_steps(setting: Setting, s: State) -> Made:
    """Of the supervisor of the first worker: it knows what its child ran, and may be killed."""
    if s.chief is None:
        if s.w1.phase in ("dead", "in flight") and not setting.lost_hosts and _has_left(s, W1):
            yield f"{CHIEF}: finds {W1} dead", s._replace(chief=Heir("orphans", W1, False, seat=s.w1.seat))
        return
    if s.chief.step == "killed":
        return
    yield from _rescues(setting, s, CHIEF, s.chief)
    if s.kills:
        killed = s._replace(chief=s.chief._replace(step="killed"), kills=s.kills - 1)
        yield f"{CHIEF}: killed", killed, FAULT


def maintenance_steps(setting: Setting, s: State) -> Made:
    """Of the other host: the death of its own worker, and whatever is lost. It lives."""
    if s.other is not None:
        yield from _rescues(setting, s, OTHER, s.other)
        return
    if s.w2.phase in ("dead", "in flight") and not setting.lost_hosts and _has_left(s, W2):
        yield f"{OTHER}: finds {W2} dead", s._replace(other=Heir("orphans", W2, False, seat=s.w2.seat))
    silent = [name for name, worker in ((W1, s.w1), (W2, s.w2)) if setting.lost_hosts and worker.phase == "dead"]
    if s.chief and s.chief.step == "killed" and s.w1.phase != "in flight":  # whose write locks its row
        silent += [CHIEF, *([W1] if s.w1.phase == "dead" else [])]
    if left := s.registered.intersection(silent):
        yield f"{OTHER}: lease.bury", s._replace(registered=s.registered - left)
    holder = s.row.holder if s.row and s.row.status == RUNNING else ""
    for dead in (W1, W2, CHIEF):
        if dead not in s.registered and (dead in s.joined or dead == holder):
            yield f"{OTHER}: finds {dead} lost", s._replace(other=Heir("orphans", dead, True))


def _has_left(s: State, name: str) -> bool:
    """Is there something that its rescue has not seen yet?"""
    holds = bool((s.row and s.row.holder == name) or (s.message and s.message.holder == name))
    return name in s.joined or name in s.registered or holds


def _rescues(setting: Setting, s: State, name: str, heir: Heir) -> Made:
    field, dead = FIELDS[name], heir.dead
    worker: Worker = getattr(s, dead, Worker())

    def to(step: str, state: State = s, **changes: Any) -> State:
        return state._replace(**{field: heir._replace(step=step, **changes)})

    def came_of(kind: str) -> str:
        if heir.nobody_knows:
            return "lost"
        seat = heir.seat if worker.kind == kind else ""
        return {"begun": "retry", "over": "lost"}.get(seat, "un-run")

    def done(state: State) -> State:
        return state._replace(**{field: None})

    label = f"{name}: "
    has_it = s.message is not None and s.message.holder == name
    match heir.step:
        case "orphans":
            row = s.row if s.row and s.row.holder == dead and s.row.status == RUNNING else None
            yield label + "rows.orphans", to("inherit", row=row.attempts if row else 0)
        case "inherit":
            message = s.message
            if message and message.holder == dead:
                whose = dead if setting.has("an heir's heir has all") else message.claimed_by
                message = message._replace(holder=name, claimed_by=whose)
            found = message is not None and message.holder == name and message.claimed_by == dead
            moved = s._replace(message=message, joined=s.joined - {dead} | {name})
            yield label + "transport.inherit", to("remove", moved, message=found)
        case "remove":
            if not setting.has("the row of the dead is removed before the look"):
                yield label + "the row stays", to("written")
            elif worker.phase != "in flight":  # its write locks the row
                yield (
                    label + "the row of the dead is removed",
                    to("written", s._replace(registered=s.registered - {dead})),
                )
        case "written":
            is_known = heir.message and setting.has("a look before what is inherited is settled")
            is_known = is_known and written(setting, s)
            yield label + "inheritance.written", to("ack known" if is_known else "settle")
        case "ack known":
            acked = s._replace(message=None if has_it else s.message)
            yield label + "transport.ack", to("settle", acked, message=False)
        case "settle":
            after = settled_row(setting, s, dead, heir.row, came_of("row")) if heir.row else s
            yield label + "rows.settle", to("record" if heir.message else "again", after)
        case "record" if came_of("message") == "un-run":
            waits = s.message._replace(holder="", claimed_by="") if s.message and has_it else s.message
            yield label + "transport.release", to("again", s._replace(message=waits))
        case "record":
            if name in s.registered or not setting.has("who is not registered writes nothing"):
                yield label + "rows.record", to("ack", recorded(setting, s, 1, came_of("message")))
            else:
                yield label + "rows.record, refused", done(s)
        case "ack":
            yield label + "transport.ack", to("again", s._replace(message=None if has_it else s.message))
        case "again":
            found_any = bool(heir.row or heir.message)
            ended = s._replace(registered=s.registered - {dead})
            yield (
                label + "asks again" * found_any + "is done" * (not found_any),
                to("orphans") if found_any else done(ended),
            )
