"""A client in the position of another language: pika, JSON and schemas/README.md, and nothing of memq's code."""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

ANSWER_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Message:
    routing_key: str
    properties: pika.BasicProperties
    body: bytes

    @property
    def headers(self) -> dict[str, Any]:
        return dict(self.properties.headers or {})

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


class Caller:
    """One channel with confirms and one reply queue. Not for use by several threads."""

    def __init__(self, channel: BlockingChannel, prefix: str) -> None:
        self._channel = channel
        self._prefix = prefix
        channel.confirm_delivery()
        self.replies: str = channel.queue_declare("", exclusive=True).method.queue
        self._early: dict[str, Message] = {}

    def publish(self, routing_key: str, body: object, **properties: Any) -> None:
        """Returns when confirmed; raises pika's UnroutableError when the message came back."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"content_type": "application/json", "message_id": str(uuid.uuid4()), "priority": 4} | properties
        self._channel.basic_publish(
            f"{self._prefix}.commands", routing_key, raw, pika.BasicProperties(**given), mandatory=True
        )

    def ask(self, routing_key: str, body: object, **properties: Any) -> dict[str, Any]:
        """The reply to a request that gives up after ANSWER_SECONDS."""
        deadline = int((time.time() + ANSWER_SECONDS) * 1000)
        envelope = {"expiration": str(ANSWER_SECONDS * 1000), "headers": {"x-deadline": deadline}, **properties}
        return self._round_trip(routing_key, body, envelope)

    def write(self, routing_key: str, body: object, **properties: Any) -> dict[str, Any]:
        """The receipt of a durable write."""
        return self._round_trip(routing_key, body, {"delivery_mode": 2, **properties})

    def _round_trip(self, routing_key: str, body: object, properties: dict[str, Any]) -> dict[str, Any]:
        correlation_id = str(uuid.uuid4())
        self.publish(routing_key, body, reply_to=self.replies, correlation_id=correlation_id, **properties)
        return self.reply_to(correlation_id).json

    def reply_to(self, correlation_id: str) -> Message:
        """The reply with this correlation id; others are kept for `early`."""
        for method, properties, body in self._channel.consume(
            self.replies, auto_ack=True, inactivity_timeout=ANSWER_SECONDS
        ):
            if method is None or properties is None or body is None:
                break
            reply = Message(str(method.routing_key), properties, body)
            if properties.correlation_id == correlation_id:
                return reply
            self._early[str(properties.correlation_id)] = reply
        raise TimeoutError(f"no reply within {ANSWER_SECONDS} s")

    @property
    def early(self) -> set[str]:
        """Correlation ids of the replies that came while another one was waited for."""
        return set(self._early)

    def dead(self, least: int = 0) -> list[Message]:
        """Take what is in the dead-letter queue, and wait for `least` messages.

        A worker that looks at the oldest one, for its age, holds it for a moment.
        """
        found: list[Message] = []
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            method, properties, body = self._channel.basic_get(f"{self._prefix}.dead", auto_ack=True)
            if method is not None and properties is not None and body is not None:
                found.append(Message(str(method.routing_key), properties, body))
            elif len(found) >= least or time.monotonic() > deadline:
                return found
            else:
                self._channel.connection.sleep(0.05)


@contextmanager
def caller(url: str, prefix: str) -> Iterator[Caller]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield Caller(connection.channel(), prefix)
    finally:
        connection.close()
