"""Messages in their envelopes, all by kombu, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from kombu import Exchange, Producer, Queue
from kombu.utils.json import dumps

from ...store.weights import cut
from .celery_wire import Message
from .lua import MOST
from .redis_wire import in_chunks


class Written(NamedTuple):
    """A message in its envelope, by kombu."""

    id: str
    step: int
    queue_name: str
    list_name: str
    text: str


def size_of(message: Message) -> int:
    """Bytes of its envelope, or somewhat fewer."""
    return len(dumps(message.body)) * 4 // 3 + len(dumps(message.headers))


def enveloped(messages: Iterable[Message], channel: Any) -> Iterator[Written]:
    """``channel`` is one of kombu's, which sends nothing here."""
    pen = Pen(channel)
    producer = Producer(pen)
    for message in messages:
        producer.publish(
            message.body,
            exchange="",
            routing_key=message.queue_name,
            serializer="json",
            headers=message.headers,
            priority=message.priority,
            expiration=message.expiration,
            correlation_id=message.headers["id"],
            reply_to="",
        )
        key, envelope = pen.written.pop()
        step, name = channel.priority(message.priority), channel.global_keyprefix + key
        yield Written(message.headers["id"], step, message.queue_name, name, envelope)


class Pen:
    """A channel of kombu whose messages are kept, and not sent."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.written: list[tuple[str, str]] = []  # list and envelope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def basic_publish(self, message: dict[str, Any], **to: Any) -> None:
        self._channel.basic_publish(
            message, exchange=to["exchange"], routing_key=to["routing_key"], _publish_batch=self
        )

    def add(self, command: str, key: str, envelope: str) -> None:
        """What kombu would send."""
        self.written.append((key, envelope))


def declare(queue_name: str, channel: Any) -> None:
    """Tell the clients and workers of Celery of a queue, as kombu does: by bindings in Redis."""
    Queue(queue_name, Exchange(queue_name, type="direct"), queue_name, channel=channel).declare()


def in_parts(written: Iterable[Written]) -> Iterator[Sequence[Written]]:
    for chunk in in_chunks(list(written), MOST):
        yield from cut(chunk, [len(each.text) for each in chunk])
