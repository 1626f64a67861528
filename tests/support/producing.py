"""A producer, as a program: ``python -m tests.support.producing NOTES LEDGER COUNT STEP [BACKEND]``.

It enqueues jobs in a transaction and is killed at its STEPth step: before or after one of its writes to the store or
the engine. It notes which of its jobs are committed, and which the engine has confirmed. A STEP too many ends well.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import django


def main(notes: str, ledger: str, count: str, step: str, backend: str = "default") -> None:
    django.setup()
    from django.db import connection, transaction

    from taskq_django.brokers.database.outbox import Outbox
    from taskq_django.brokers.kombu.redis import RedisTransport
    from tests.app import tasks

    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    ids: list[str] = []
    left = int(step)

    def note(what: str) -> None:
        os.write(file, "".join(f"{what} {id_}\n" for id_ in ids).encode())

    def pass_by() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(owner: Any, name: str, after: Callable[[], None] = lambda: None) -> None:
        act = getattr(owner, name)

        def watched(*args: Any, **more: Any) -> Any:
            pass_by()
            answer = act(*args, **more)
            if ids:
                after()
            pass_by()
            return answer

        setattr(owner, name, watched)

    for name in ("stand_in", "renew", "confirmed"):
        watch(Outbox, name)
    watch(RedisTransport, "publish", lambda: note("published"))
    watch(connection, "_commit", lambda: note("committed"))
    with transaction.atomic():
        sent = tasks.ledgered.using(backend=backend).enqueue_many([(ledger, 0.0)] * int(count))
        ids += [job.id for job in sent]


def forking(ledger: str, count: int) -> None:
    """Enqueues, forks as a server does that loads its application first, and enqueues in all of them."""
    django.setup()
    from tests.app import tasks

    tasks.ledgered.enqueue(ledger, 0.0)
    children = []
    for _ in range(3):
        if not (pid := os.fork()):
            code = 1
            try:
                for _ in range(count):
                    tasks.ledgered.enqueue(ledger, 0.0)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    for _ in range(count):
        tasks.ledgered.enqueue(ledger, 0.0)
    sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))


if __name__ == "__main__":
    if sys.argv[1] == "fork":
        forking(sys.argv[2], int(sys.argv[3]))
    else:
        main(*sys.argv[1:])
