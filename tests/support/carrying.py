"""One job through every step of a transport."""

from __future__ import annotations

from uuid import uuid4

from taskq_django.brokers.messages.transport import Transport
from taskq_django.jobs import Job
from taskq_django.sleeper import Sleeper


def carry_a_job(transport: Transport) -> None:
    """It rings, is claimed, put back, inherited and done with."""
    worker, heir, id_ = str(uuid4()), str(uuid4()), str(uuid4())
    bell = transport.bell()
    bell.rang()
    fd = bell.fd
    assert fd is not None
    transport.publish([Job(id_, "a.b", "{}", "fast", "default")], 2.0)
    sleeper = Sleeper()
    assert sleeper.sleep(10, [fd]) == [fd]
    sleeper.close()
    assert bell.rang()
    transport.join(worker)
    assert transport.queues() == ["default"]
    assert transport.peek("default", 1)
    assert transport.depth()
    [claim] = transport.claim("default", 1, worker)
    assert transport.find([id_])
    assert transport.release([claim]) == {id_}
    [claim] = transport.claim("default", 1, worker)
    [(claim, _)] = transport.inherit(worker, heir)
    assert transport.ack([claim]) == {id_}
    assert transport.purge("default") == 0
    bell.close()
