"""What the model knows of the job, of the processes, and of the two stores; and what a write does to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

SCHEDULED, READY, RUNNING = "SCHEDULED", "READY", "RUNNING"
UNSENT = ("publish", "stand in late", "keep")  # what a producer does while only itself may know of the job
W1, W2, CHIEF, OTHER = "w1", "w2", "supervisor", "maintenance of another host"

RULES = (
    "only what was renewed is published",
    "a renewal leaves what runs",
    "what is not surely its own is doubtful",
    "a loss is no attempt while the row stands in",
    "the engine is asked before it begins",
    "without an answer it waits",
    "the store is asked after the engine",
    "an un-run return keeps the sender",
    "what comes of a message takes the row that stands in for it",
    "an end takes the row along",
    "the store before the engine",
    "who is not registered writes nothing",
    "the row of the dead is removed before the look",
    "a look before what is inherited is settled",
    "the look asks for failed attempts",
    "a row with a sender says nothing",
    "who has not joined claims nothing",
    "an heir's heir has all",
    "claims without an answer go back",
    "of two results the one of more attempts stays",
)


class Row(NamedTuple):
    status: str
    attempts: int
    holder: str = ""  # whose token it has
    sender: bool = False


class Message(NamedTuple):
    holder: str = ""  # "": it waits
    claimed_by: str = ""  # whose it was before its heir has it


class Worker(NamedTuple):
    phase: str = "idle"
    kind: str = ""  # row, message
    attempt: int = 0
    seat: str = ""  # what the board says: "", begun, over
    is_late: bool = False  # others have counted it as dead


class Heir(NamedTuple):
    step: str
    dead: str
    nobody_knows: bool  # what it ran: its host is lost
    row: int = 0  # attempt of the row that it held
    message: bool = False
    seat: str = ""


class State(NamedTuple):
    producer: str
    row: Row | None
    message: Message | None
    w1: Worker
    w2: Worker
    chief: Heir | None
    other: Heir | None
    registered: frozenset[str]
    joined: frozenset[str]
    result: int  # attempts of the result; 0: there is none
    has_ended: bool  # by an end that was committed, also one that leaves no result
    failed: frozenset[int]  # attempts that have a JobAttempt
    ran: frozenset[int]  # those of them that have surely run: a lost host is held against its jobs without knowing
    kills: int  # that may still come
    faults: int  # answers that may still be lost
    is_faultless: bool = True


@dataclass(frozen=True)
class Setting:
    """``task``: ok, retry (fails once), cut (off by a stop, once), silent (keeps no result), or one of each.

    ``producer``: how it is enqueued.
    """

    task: str = "ok"
    producer: str = "renew"  # by an outbox; publish: without one; keep: with one, and outside of a transaction
    kills: int = 0
    faults: int = 0
    slow_commit: bool = False
    lost_hosts: bool = False  # killed is a host, and of what it ran nobody knows
    freezes: bool = False  # a host is not killed, but wakes after it was counted as lost
    without: frozenset[str] = frozenset()

    def has(self, rule: str) -> bool:
        assert rule in RULES
        return rule not in self.without


# What a process may do next: the label, the state after it, and True where that takes a fault.
Made = Iterator[tuple[str, State] | tuple[str, State, bool]]
FAULT = True


def written(setting: Setting, s: State) -> bool:
    """As store.ends: does the store know what came of the message?"""
    if s.result or (setting.has("the look asks for failed attempts") and s.failed):
        return True
    return s.row is not None and not (s.row.sender and setting.has("a row with a sender says nothing"))


def recorded(setting: Setting, s: State, attempt: int, how: str) -> State:
    """As Messages.record: how is ok, silent, retry, cut, lost."""
    takes = s.row is not None and (
        s.row.attempts < attempt
        or (s.row.sender and setting.has("what comes of a message takes the row that stands in for it"))
    )
    if how in ("retry", "cut", "lost"):
        row = Row(READY, attempt) if s.row is None or takes else s.row
        if how == "cut":
            return s._replace(row=row)
        return s._replace(row=row, failed=s.failed | {attempt}, ran=s.ran | {attempt} if how == "retry" else s.ran)
    row = None if takes and setting.has("an end takes the row along") else s.row
    return _ended(setting, s._replace(row=row), attempt, how)


def came_of(setting: Setting, attempt: int) -> str:
    for once in ("retry", "cut"):
        if once in setting.task and attempt == 1:
            return once
    return "silent" if "silent" in setting.task else "ok"


def settled_row(setting: Setting, s: State, name: str, attempt: int, how: str) -> State:
    """As rows.settle: the token decides, which is the holder's name here."""
    row = s.row
    if row is None or row.holder != name or row.attempts != attempt:
        return s
    match how:
        case "un-run":
            sender = row.sender and setting.has("an un-run return keeps the sender")
            return s._replace(row=row._replace(status=READY, attempts=attempt - 1, holder="", sender=sender))
        case "cut":
            return s._replace(row=Row(READY, attempt))
        case "retry":
            again = Row(READY, attempt)
            return s._replace(row=again, failed=s.failed | {attempt}, ran=s.ran | {attempt})
        case "lost":
            back = row._replace(status=READY, holder="")
            is_none = row.sender and setting.has("a loss is no attempt while the row stands in")
            return s._replace(row=back, failed=s.failed if is_none else s.failed | {attempt})
    return _ended(setting, s._replace(row=None), attempt, how)


def _ended(setting: Setting, s: State, attempt: int, how: str) -> State:
    result = s.result if how == "silent" else attempt
    if setting.has("of two results the one of more attempts stays"):
        result = max(result, s.result)
    return s._replace(has_ended=True, result=result)
