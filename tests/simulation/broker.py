"""RabbitMQ as far as memq uses it: queues, redelivery and its count, tiers, dead letters, confirms, and their failures.

The client's side has the surface of aio-pika and aiormq that the worker touches, so everything of the worker above it
is the real one. Frames take time and keep their order on a connection; what is under way when it dies is lost.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memq_schemas import Names, headers
from tests.simulation import tenants
from tests.simulation.ledger import Ledger
from tests.simulation.model import Message

if TYPE_CHECKING:
    from tests.simulation.channel import Channel
    from tests.simulation.client import Connection
    from tests.simulation.ledger import Publication
    from tests.simulation.world import World

NAMES = Names()
CALLER = "caller"
REPLIES = f"{NAMES.prefix}.r."


@dataclass(slots=True, eq=False)
class Copy:
    """One message in one queue. A copy that a worker publishes is another one, with a count of its own.

    exchange: the one through which it came.
    """

    message: Message
    queue: str
    exchange: str
    headers: dict[str, Any]
    reply_to: str | None
    count: int = 0
    redelivered: bool = False


@dataclass(slots=True)
class Queue:
    name: str
    ttl: float | None
    dead_letter_exchange: str | None
    limit: int | None
    durable: bool
    ready: deque[Copy] = field(default_factory=deque)
    consumers: list[Channel] = field(default_factory=list)


class Broker:
    def __init__(self, world: World) -> None:
        self.world = world
        self.ledger = Ledger(world)
        self.queues = {queue.name: _queue(queue.name, queue.arguments) for queue in tenants.QUEUES}
        self.connections: list[Connection] = []
        self.up = True
        self.deliveries = 0
        self.refusing: dict[str, float] = {}  # "nacks", "unconfirmed" or "unroutable" -> until when
        bindings = tenants.BINDINGS
        self._words = {(b.exchange, b.routing_key.removesuffix(".#")): b.queue for b in bindings if b.routing_key}
        self._lanes = {b.arguments[headers.LANE]: b.queue for b in bindings if b.exchange == NAMES.internal}
        self._commands = {exchange for exchange, _ in self._words}
        if world.scenario.rollout is not None:
            told = Message(n=-1, kind="plain", key=NAMES.tenants, body=b"", ids=[], at=0.0)
            self.queues[NAMES.tenants].ready.append(Copy(told, NAMES.tenants, "", {}, None))

    def route(self, exchange: str, routing_key: str, carried: dict[str, Any]) -> str | None:
        if exchange in self._commands:
            return self._words.get((exchange, routing_key.partition(".")[0]))
        if exchange == NAMES.internal:
            return self._lanes.get(carried.get(headers.LANE, ""))
        if exchange.startswith(REPLIES):
            # A queue is bound under its own name, and reading it is its tenant's alone.
            return CALLER if routing_key == tenants.reply(exchange.removeprefix(REPLIES), CALLER) else None
        name = exchange or routing_key
        return name if name in self.queues or name == CALLER else None

    def put(self, copy: Copy, *, first: bool = False) -> None:
        queue = self.queues[copy.queue]
        if first:
            queue.ready.appendleft(copy)
        else:
            queue.ready.append(copy)
        if queue.ttl is not None:
            self.world.loop.call_later(queue.ttl, self._expire, queue, copy)
        self.pump(queue)

    def _expire(self, queue: Queue, copy: Copy) -> None:
        if copy not in queue.ready:
            return
        queue.ready.remove(copy)
        self.world.log("expired", queue.name, copy.message.n)
        if queue.dead_letter_exchange is None:
            self.ledger.expired(copy)
        else:
            self.dead_letter(copy, "expired")

    def dead_letter(self, copy: Copy, reason: str) -> None:
        exchange = self.queues[copy.queue].dead_letter_exchange
        target = self.route(exchange, copy.message.key, copy.headers) if exchange is not None else None
        if target is None:
            self.world.fail(f"{copy.queue} has nowhere to put {copy.message.n}: {reason}")
            return
        death = {"exchange": copy.exchange, "queue": copy.queue, "reason": reason, "count": 1}
        broker = {"x-first-death-reason": reason, "x-death": [death]}
        self.put(Copy(copy.message, target, exchange or "", {**copy.headers, **broker}, copy.reply_to))

    def pump(self, queue: Queue) -> None:
        while queue.ready:
            free = next((c for c in queue.consumers if len(c.unacked) < c.prefetch), None)
            if free is None:
                return
            queue.consumers.remove(free)
            queue.consumers.append(free)
            free.deliver(queue.ready.popleft())

    def requeue(self, copies: list[Copy], *, counts: bool) -> None:
        """Back to the head, in their order."""
        for copy in reversed(copies):
            queue = self.queues[copy.queue]
            copy.redelivered = True
            copy.count += counts
            if not queue.durable and not self.up:
                self.ledger.expired(copy)
            elif queue.limit is not None and copy.count > queue.limit:
                self.world.log("limit", queue.name, copy.message.n)
                self.dead_letter(copy, "delivery_limit")
            else:
                queue.ready.appendleft(copy)
        for name in dict.fromkeys(copy.queue for copy in copies):
            self.pump(self.queues[name])

    def restart(self, seconds: float) -> None:
        self.up = False
        for connection in list(self.connections):
            connection.die("the broker is gone")
        for queue in self.queues.values():
            if not queue.durable:
                for copy in queue.ready:
                    self.ledger.expired(copy)
                queue.ready.clear()

        def back() -> None:
            self.up = True

        self.world.loop.call_later(seconds, back)

    def is_refusing(self, how: str) -> bool:
        return self.world.loop.time() < self.refusing.get(how, 0.0)

    def publish(self, publication: Publication) -> str:
        """ "confirmed", "returned", "nacked" or "unconfirmed"; the last may or may not have happened."""
        target = self.route(publication.exchange, publication.routing_key, publication.headers)
        if target is None or (publication.exchange and self.is_refusing("unroutable")):
            return "returned"
        if self.is_refusing("nacks"):
            return "nacked"
        silent = self.is_refusing("unconfirmed")
        if not (silent and self.world.random.random() < 0.5) and target != CALLER:
            message = self.world.by_body[publication.body]
            self.ledger.kept.setdefault(message.n, []).append(publication)
            self.put(Copy(message, target, publication.exchange, dict(publication.headers), publication.reply_to))
        return "unconfirmed" if silent else "confirmed"


def _queue(name: str, arguments: dict[str, Any]) -> Queue:
    ttl = arguments.get("x-message-ttl")
    return Queue(
        name,
        None if ttl is None else ttl / 1000,
        arguments.get("x-dead-letter-exchange"),
        arguments.get("x-delivery-limit"),
        # The message with the generation is persistent, and requests are not.
        durable=arguments["x-queue-type"] == "quorum" or name == NAMES.tenants,
    )
