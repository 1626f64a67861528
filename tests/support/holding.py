"""What a worker process holds, for tests of its parts."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence

from taskq_django.jobs import Claim
from taskq_django.worker.blackboard import Blackboard
from taskq_django.worker.held import Held


def holding(claims: Sequence[Claim]) -> Held:
    held = Held(Blackboard(multiprocessing.get_context("spawn"), len(claims)))
    held.take(claims)
    return held
