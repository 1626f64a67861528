"""Walks through all states, breadth first, so that the way to what is wrong is a shortest one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from .heir import heir_steps, maintenance_steps
from .producer import producer_steps, store_steps
from .states import CHIEF, OTHER, SCHEDULED, UNSENT, W1, W2, Row, Setting, State, Worker
from .worker import worker_steps


@dataclass
class Walk:
    setting: Setting
    wrong: dict[str, list[str]] = field(default_factory=dict)  # what, and the shortest way to it
    states: int = 0
    steps: set[str] = field(default_factory=set)


def begin(setting: Setting) -> State:
    row = Row(SCHEDULED, 0, sender=True) if setting.producer == "renew" else None
    everybody = frozenset({W1, W2, CHIEF, OTHER})
    return State(
        "renew" if row else "publish", row, None, Worker(), Worker(), None, None, everybody, everybody - {CHIEF, OTHER},
        0, False, frozenset(), frozenset(), setting.kills, setting.faults,
    )  # fmt: skip


def walk(setting: Setting, most: int = 2_000_000) -> Walk:
    found, start = Walk(setting), begin(setting)
    came: dict[State, tuple[State | None, str]] = {start: (None, "")}
    todo = deque([start])

    def note(what: str, state: State, last: str = "") -> None:
        if what in found.wrong:
            return
        way, at = [last] if last else [], state
        while came[at][0] is not None:
            before, label = came[at]
            way.append(label)
            assert before is not None
            at = before
        found.wrong[what] = way[::-1]

    while todo:
        state = todo.popleft()
        steps = list(_steps(setting, state))
        if not any(is_own for _, _, is_own in steps):
            for what in _wrong_at_the_end(state):
                note(what, state)
        for label, after, _ in steps:
            found.steps.add(label.split(": ")[-1].split(",")[0])
            if after in came:
                continue
            if what := _wrong_step(setting.kills, state, label, after):
                note(what, state, label)
            came[after] = (state, label)
            todo.append(after)
        assert len(came) < most, "too many states"
    found.states = len(came)
    return found


def _wrong_step(most_kills: int, before: State, label: str, after: State) -> str:
    if after.producer != "failed" and not (after.row or after.message or after.has_ended or after.producer in UNSENT):
        return "lost"
    if after.result < before.result:
        return "a result was overwritten by one of fewer attempts"
    if label.endswith("begins"):
        worker: Worker = getattr(after, label[:2])
        if before.result or (before.has_ended and before.kills == most_kills) or worker.attempt in before.ran:
            return "begun again after its end was committed"
        if after.w1.seat == after.w2.seat == "begun" and before.is_faultless:
            return "runs twice at once without a fault"
    return ""


def _wrong_at_the_end(state: State) -> Iterator[str]:
    if state.producer != "failed" and not state.has_ended:
        yield "never ends"
    if state.has_ended and (state.row or state.message):
        yield "ended, and still there"


def _steps(setting: Setting, state: State) -> Iterator[tuple[str, State, bool]]:
    """The label, the state after it, and whether it is made without a fault."""
    for made in (
        producer_steps(setting, state),
        store_steps(setting, state),
        worker_steps(setting, state, W1),
        worker_steps(setting, state, W2),
        heir_steps(setting, state),
        maintenance_steps(setting, state),
    ):
        for label, after, *fault in made:
            if fault:
                yield label, after._replace(is_faultless=False), False
            else:
                yield label, after, True
