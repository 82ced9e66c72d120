"""A client in the position of another language: pika, JSON and schemas/README.md, and nothing of memq's code."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

READY_SECONDS = 60.0
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

    def dead(self) -> list[Message]:
        """Takes what is in the dead-letter queue."""
        found: list[Message] = []
        while True:
            method, properties, body = self._channel.basic_get(f"{self._prefix}.dead", auto_ack=True)
            if method is None or properties is None or body is None:
                return found
            found.append(Message(str(method.routing_key), properties, body))


@contextmanager
def caller(url: str, prefix: str) -> Iterator[Caller]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield Caller(connection.channel(), prefix)
    finally:
        connection.close()


@contextmanager
def running_worker(url: str, prefix: str, data: Path) -> Iterator[None]:
    """A real worker on the embedded engine, ready when the block begins. It has to stop cleanly at the end."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")}
    environ |= {
        "MEMQ_AMQP_URL": url,
        "MEMQ_PREFIX": prefix,
        "MEMQ_DATA_DIR": str(data),
        "MEMQ_EMBEDDED_LISTEN": f"127.0.0.1:{_free_port()}",
        "MEMQ_METRICS_PORT": "0",
        "MEMQ_PROCESSES": "1",
    }
    command = [str(Path(sys.executable).with_name("memq-worker")), "run"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        log = _Log(process)
        try:
            log.wait_until_ready()
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, log.text
        finally:
            if process.poll() is None:
                process.kill()
            log.finish()


class _Log:
    """Reads standard error to its end, so that the worker never blocks on a full pipe."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ready = self._ended = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def text(self) -> str:
        return "".join(self._lines)

    def wait_until_ready(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended, READY_SECONDS)
        assert self._ready, f"the worker did not become ready:\n{self.text}"

    def finish(self) -> None:
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._changed:
                self._lines.append(line)
                self._ready = self._ready or _message(line) == "worker ready"
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def _message(line: str) -> object:
    try:
        return json.loads(line).get("message")
    except ValueError:
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
