"""Broken workers. Each breaks one guarantee in the way real workers break it; each has a checker that must see it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from memq_amqp import How, Settlement
from qdrant_client import grpc

from memq_schemas import ErrorCode
from memq_worker import service, suspects
from memq_worker.amqp import link, prefetch
from memq_worker.errors import DependencyError, MessageError, Outage, StoreOutage, Unroutable
from memq_worker.pipeline import diagnosis, held_collection, intake, settle, write
from memq_worker.pipeline.decode import vectors
from memq_worker.pipeline.outcome import DeadLetter, Done, Quarantine, Release
from memq_worker.qdrant import client, upserts
from memq_worker.qdrant.errors import translated
from memq_worker.tenants import register
from tests.chaos import envelopes
from tests.chaos.registry import MUTANTS, mutant, untyped

# envelopes: its mutants are in the list once it is imported.
__all__ = ["MUTANTS", "envelopes"]


@mutant("kills", "lost")
def acknowledge_before_the_write() -> None:
    """At most once: what is in flight when a worker dies is gone."""
    original = untyped(write.CollectionWriter)._run
    original_ack = untyped(link.ConsumerLink).ack
    early: set[tuple[int, int]] = set()

    async def run(self: Any, batch: Any) -> None:
        for command in batch.commands:
            original_ack(command.delivery.link, command.delivery.tag)
            early.add((id(command.delivery.link), command.delivery.tag))
        await original(self, batch)

    def ack(self: Any, tag: int) -> None:
        if (id(self), tag) not in early:
            original_ack(self, tag)

    untyped(write.CollectionWriter)._run = run
    untyped(link.ConsumerLink).ack = ack


@mutant("kills", "lost")
def acknowledge_all_up_to_the_newest() -> None:
    """One acknowledgement with `multiple` for the newest that is done covers older ones that are not."""

    def take(self: Any, *, requeued: bool = True) -> Any:
        del requeued
        settled, self._settled = self._settled, {}
        done = [tag for tag, how in settled.items() if how is How.ACK]
        others = [Settlement(settled[tag], tag, multiple=False) for tag in sorted(settled.keys() - set(done))]
        if not done:
            return others
        mark = max(done)
        for tag in [tag for tag in self._open if tag <= mark]:
            del self._open[tag]
        return [*others, Settlement(How.ACK, mark, multiple=True)]

    untyped(prefetch.AckLedger).take = take


@mutant("hostile", "backlog", "unexplained")
def requeue_for_ever() -> None:
    """What fails is handed back, and comes again at once, until the broker's own limit ends it."""
    original = untyped(settle.Settler)._act

    async def act(self: Any, delivery: Any, outcome: Any) -> Any:
        return await original(self, delivery, Release() if isinstance(outcome, DeadLetter | Quarantine) else outcome)

    untyped(settle.Settler)._act = act


@mutant("hostile", "backlog")
def publish_again_for_ever() -> None:
    """What fails goes to the end of its own queue, as new."""
    original = untyped(settle.Settler)._act

    async def act(self: Any, delivery: Any, outcome: Any) -> Any:
        if not isinstance(outcome, DeadLetter):
            return await original(self, delivery, outcome)
        properties = delivery.properties
        await delivery.link.publish(self._names.commands, delivery.routing_key, delivery.body, properties)
        delivery.link.ack(delivery.tag)
        return outcome

    untyped(settle.Settler)._act = act


@mutant("hostile", "lost")
def acknowledge_without_a_dead_letter() -> None:
    """What is refused is answered, logged, and gone."""
    original = untyped(settle.Settler)._move

    async def move(self: Any, delivery: Any, exchange: str, error: Any, attempts: int, place: str = "") -> bool:
        # True: to the worker the copy has been published, so nothing is left for the broker to keep.
        return exchange == self._names.dead or await original(self, delivery, exchange, error, attempts, place)

    untyped(settle.Settler)._move = move


@mutant("hostile", "let through")
def vectors_are_not_looked_at() -> None:
    """NaN and infinity reach the store."""
    untyped(vectors)._check_finite = lambda _name, _column, _first: None


@mutant("hostile", "leaked")
def bodies_are_logged() -> None:
    original = untyped(settle.Settler)._count

    def count(self: Any, delivery: Any, outcome: Any) -> None:
        settle.logger.warning("settled", extra={"body": delivery.body[:300].decode(errors="replace")})
        original(self, delivery, outcome)

    untyped(settle.Settler)._count = count


@mutant("disorder", "stale")
def versions_are_not_compared() -> None:
    """The last to arrive wins."""

    def upsert_request(collection: str, batch: Any) -> bytes:
        request: Any = grpc.UpsertPoints.FromString(original(collection, batch))
        request.ClearField("update_filter")
        return request.SerializeToString()

    original = upserts.upsert_request
    untyped(client).upsert_request = upsert_request


@mutant("store failing", "lost")
def an_outage_drops() -> None:
    """A store that is away counts as one that has done it."""

    original = untyped(write.CollectionWriter)._write

    async def write_or_not(self: Any, commands: Any) -> Any:
        try:
            return await original(self, commands)
        except Outage:
            return [Done("applied", command.result) for command in commands]

    untyped(write.CollectionWriter)._write = write_or_not


@mutant("store failing", "condemned")
def a_refused_batch_is_refused_whole() -> None:
    """No bisection: the neighbours of one bad message are dead-lettered with it."""
    original = untyped(write.CollectionWriter)._apply

    async def apply(self: Any, commands: Any) -> None:
        async def refuse_all() -> None:
            try:
                await self._write(commands)
            except MessageError as error:
                await self._settle(commands, [DeadLetter(error) for _ in commands])
            else:
                await self._settle(commands, [Done("applied", command.result) for command in commands])

        if len(commands) > 1:
            try:
                await refuse_all()
            except Outage:
                await original(self, commands)
        else:
            await original(self, commands)

    untyped(write.CollectionWriter)._apply = apply


@mutant("store failing", "lost")
def a_wait_timeout_is_success() -> None:
    """The status of an answer is not looked at, only that there is one."""

    async def update(self: Any, method: Any, request: Any, timeout: float | None = None) -> None:
        with translated():
            await method(request, timeout=timeout or self._timeout_seconds, metadata=self._metadata)

    untyped(client.QdrantStore)._update = update


@mutant("neighbours", "held")
def one_failure_holds_everybody() -> None:
    """No independent question: whatever fails in one collection counts as an outage of the store."""

    async def of(self: Any, error: Outage, collection: str, began: float) -> StoreOutage:
        return StoreOutage.of(error)

    untyped(diagnosis.Diagnosis).of = of


@mutant("network", "lost")
def copies_are_not_confirmed() -> None:
    """Retries and dead letters are acknowledged before the broker has confirmed their copies."""

    async def publish(self: Any, exchange: str, routing_key: str, body: bytes, properties: Any) -> None:
        task = asyncio.create_task(self._publisher.publish(exchange, routing_key, body, properties))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    untyped(link.ConsumerLink).publish = publish


@mutant("network", "lost")
def acknowledgements_cross_channels() -> None:
    """A delivery from a dead channel is acknowledged on its successor, where its tag means another message."""
    newest: dict[str, Any] = {}
    original_consume = untyped(link.ConsumerLink).consume
    original_alive = untyped(link.ConsumerLink).alive
    original_ack = untyped(link.ConsumerLink).ack

    async def consume(self: Any, *args: Any, **more: Any) -> None:
        newest[self._queue] = self
        await original_consume(self, *args, **more)

    def ack(self: Any, tag: int) -> None:
        original_ack(newest.get(self._queue, self), tag)

    # What waits behind a slow write would be moved to a retry queue, and so not be lost.
    untyped(held_collection).SLOW_SECONDS = 600.0
    untyped(link.ConsumerLink).consume = consume
    untyped(link.ConsumerLink).alive = property(lambda self: original_alive.fget(newest.get(self._queue, self)))
    untyped(link.ConsumerLink).ack = ack


@mutant("poison", "condemned")
def redelivered_means_guilty() -> None:
    """Whatever was in the hands of a dying worker is dead-lettered, neighbours and all."""
    original = untyped(intake.Pipeline)._settle_later

    def settle_later(self: Any, delivery: Any, outcome: Any) -> None:
        if isinstance(outcome, Quarantine):
            error = DependencyError(ErrorCode.UNEXPECTED, "redelivered too often")
            outcome = DeadLetter(error)
        original(self, delivery, outcome)

    untyped(intake.Pipeline)._settle_later = settle_later


@mutant("replies", "answered twice")
def every_reply_goes_out_twice() -> None:
    original = untyped(settle.Settler)._reply

    async def reply(self: Any, delivery: Any, answer: Any) -> None:
        await original(self, delivery, answer)
        await original(self, delivery, answer)

    untyped(settle.Settler)._reply = reply


@mutant("replies", "unknown reply", "wrong answer", "answered twice", "unanswered")
def replies_go_to_whoever_asked_last() -> None:
    """The correlation id is kept beside the request instead of with it."""
    original = untyped(settle.Settler)._reply
    last: list[str] = []

    async def reply(self: Any, delivery: Any, answer: Any) -> None:
        mine = delivery.properties.correlation_id
        if last and mine:
            object.__setattr__(delivery.properties, "correlation_id", last[-1])
        last.append(mine)
        await original(self, delivery, answer)

    untyped(settle.Settler)._reply = reply


@mutant("replies", "strange")
def replies_make_their_own_queues() -> None:
    """A worker that declares where it answers to lets anybody fill the broker with queues."""
    original = untyped(link.ConsumerLink).publish

    async def publish(self: Any, exchange: str, routing_key: str, body: bytes, properties: Any) -> None:
        try:
            await original(self, exchange, routing_key, body, properties)
        except Unroutable:
            await self._channel.declare_queue(routing_key, durable=False)
            await original(self, exchange, routing_key, body, properties)

    untyped(link.ConsumerLink).publish = publish


@mutant("tenants", "condemned", "lost", "let through")
def a_broken_tenants_file_is_an_empty_one() -> None:
    """A file that cannot be read stands for no tenants, so that their messages belong to nobody."""
    original = untyped(register.Register).look

    def look(self: Any) -> bool:
        self.current = getattr(self, "good", self.current)
        changed = original(self)
        self.good = self.current
        if self.problem:
            self.current = self.good.model_copy(update={"tenants": {}, "generation": self.generation + 1})
        return changed or self.problem != ""

    untyped(register.Register).look = look


@mutant("tenants", "let through", "strange")
def messages_of_a_removed_tenant_are_taken() -> None:
    """A message that was in a retry tier comes back after the removal, and is refused like a stranger's."""
    original = untyped(intake.Pipeline).accept

    def accept(self: Any, delivery: Any) -> None:
        self.removed = frozenset()
        original(self, delivery)

    untyped(intake.Pipeline).accept = accept


@mutant("drain", "exit code", "leaked consumer", "backlog")
def a_stop_signal_is_ignored_while_there_is_work() -> None:
    original = untyped(intake.Pipeline).drain

    async def drain(self: Any) -> None:
        await original(self)
        await asyncio.Event().wait()

    untyped(intake.Pipeline).drain = drain


@mutant("stops", "exit code", "leaked consumer", "backlog")
def a_task_that_drops_its_cancel_is_waited_for() -> None:
    """The cancel is sent once, to a task that takes it for a lost connection: asyncio.wait_for of Python 3.11."""

    async def watch(self: Any, session: Any) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    async def stopped(*running: asyncio.Task[Any]) -> None:
        for task in running:
            task.cancel()
        await asyncio.wait(running)

    untyped(suspects.Suspects).watch = watch
    untyped(service).stopped = stopped
