"""Ways to break the worker. Each has to be found by the simulation: a checker that never goes red checks nothing."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from memq_amqp import How

from memq_schemas import ErrorCode, headers
from memq_schemas.tenants import Whose
from memq_worker import suspects
from memq_worker.amqp.byte_pause import BytePause
from memq_worker.amqp.lane_pause import LanePause
from memq_worker.amqp.link import ConsumerLink
from memq_worker.amqp.prefetch import AckLedger, LaneBytes
from memq_worker.amqp.publishing import Publishing
from memq_worker.errors import BrokerUnavailable, DependencyError, Outage, WorkerError
from memq_worker.pipeline import apply, intake
from memq_worker.pipeline.batch import WriteQueue
from memq_worker.pipeline.decode import points
from memq_worker.pipeline.hold import Abandoned, Hold
from memq_worker.pipeline.intake import Pipeline
from memq_worker.pipeline.outcome import Done, Release, decide
from memq_worker.pipeline.reply_to import ReplyTo
from memq_worker.pipeline.settle import Settler
from memq_worker.pipeline.spaces.own_space import OwnSpace
from memq_worker.pipeline.write import CollectionWriter
from memq_worker.tenants.applied_file import AppliedFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from memq_worker.pipeline.scheduler import Place


def _patch(target: Any, name: str, replacement: Callable[[Any], Any]) -> Any:
    """`replacement` is given the original."""
    return patch.object(target, name, replacement(getattr(target, name)))


def ack_before_write() -> Any:
    def mutate(original: Any) -> Any:
        def add(self: CollectionWriter, command: Any) -> None:
            command.delivery.settled = True
            command.delivery.link.ack(command.delivery.tag)
            original(self, command)

        return add

    return _patch(CollectionWriter, "add", mutate)


def versions_are_not_read() -> Any:
    return _patch(points, "versions_of", lambda _: lambda _: None)


def a_later_version_in_a_batch_always_wins() -> Any:
    return _patch(apply, "_keeps", lambda _: lambda *_: False)


def copies_are_not_waited_for() -> Any:
    def mutate(original: Any) -> Any:
        async def move(self: Settler, *args: Any, **named: Any) -> bool:
            async def publish() -> None:
                with suppress(Exception):
                    await original(self, *args, **named)

            self.__dict__.setdefault("kept", []).append(asyncio.create_task(publish()))
            return True

        return move

    return _patch(Settler, "_move", mutate)


def ids_in_flight_hold_nothing_back() -> Any:
    def mutate(original: Any) -> Any:
        def take(self: WriteQueue, first: str | None = None, **how: Any) -> Any:
            self._in_flight = set()
            return original(self, first, **how)

        return take

    return _patch(WriteQueue, "take", mutate)


def later_writes_go_first() -> Any:
    def mutate(original: Any) -> Any:
        def add(self: WriteQueue, command: Any) -> None:
            original(self, command)
            self._lanes[command.delivery.lane].rotate(1)

        return add

    return _patch(WriteQueue, "add", mutate)


def an_outage_drops_what_waits() -> Any:
    def mutate(original: Any) -> Any:
        async def write(self: CollectionWriter, commands: list[Any]) -> Any:
            try:
                return await original(self, commands)
            except Outage:
                return [Done("applied", command.result) for command in commands]

        return write

    return _patch(CollectionWriter, "_write", mutate)


def an_outage_costs_attempts() -> Any:
    def mutate(original: Any) -> Any:
        async def through(self: Hold, call: Any, wanted: Any, size: float = 0, met: Any = None) -> Any:
            async def spend() -> Any:
                try:
                    if met is not None:
                        raise met
                    return await call()
                except Outage as error:
                    raise DependencyError(ErrorCode.STORE_ERROR, "outage") from error

            return await original(self, spend, wanted, size)

        return through

    return _patch(Hold, "through", mutate)


def a_hard_stop_settles_what_it_cuts_off() -> Any:
    def mutate(original: Any) -> Any:
        async def apply(self: CollectionWriter, commands: list[Any], *rest: Any) -> None:
            try:
                await original(self, commands, *rest)
            except asyncio.CancelledError:
                for command in commands:
                    command.delivery.link.ack(command.delivery.tag)
                raise

        return apply

    return _patch(CollectionWriter, "_apply", mutate)


def what_is_handed_back_is_acknowledged() -> Any:
    def mutate(original: Any) -> Any:
        async def act(self: Settler, delivery: Any, outcome: Any) -> None:
            if isinstance(outcome, Release):
                delivery.link.ack(delivery.tag)
            else:
                await original(self, delivery, outcome)

        return act

    return _patch(Settler, "_act", mutate)


def deliveries_are_settled_twice() -> Any:
    def mutate(original: Any) -> Any:
        async def settle(self: Settler, delivery: Any, outcome: Any) -> None:
            await original(self, delivery, outcome)
            delivery.settled = False
            await original(self, delivery, outcome)

        return settle

    return _patch(Settler, "settle", mutate)


@contextmanager
def acks_cross_channels() -> Iterator[None]:
    newest: dict[tuple[str, int], ConsumerLink] = {}

    def mutate_init(original: Any) -> Any:
        def init(self: Any, channel: Any, queue: str, *args: Any) -> None:
            original(self, channel, queue, *args)
            self.mine = (queue, channel.connection.process.number)
            newest[self.mine] = self

        return init

    def ack(self: Any, tag: int) -> None:
        newest[self.mine]._ledger.settle(tag, How.ACK)
        newest[self.mine]._wake.set()

    with ExitStack() as stack:
        stack.enter_context(_patch(ConsumerLink, "__init__", mutate_init))
        stack.enter_context(patch.object(ConsumerLink, "ack", ack))
        stack.enter_context(patch.object(ConsumerLink, "alive", property(lambda self: newest[self.mine]._alive)))
        yield


def an_ack_covers_what_is_still_open() -> Any:
    def mutate(original: Any) -> Any:
        def take(self: AckLedger, *, requeued: bool = True) -> Any:
            settlements = original(self, requeued=requeued)
            acks = [each for each in settlements if each.how is How.ACK]
            others = [each for each in settlements if each.how is not How.ACK]
            return others + [each._replace(multiple=True) for each in acks[-1:]]

        return take

    return _patch(AckLedger, "take", mutate)


def attempts_are_not_counted() -> Any:
    def mutate(original: Any) -> Any:
        async def move(self: Settler, delivery: Any, exchange: str, error: Any, attempts: int) -> bool:
            return await original(self, delivery, exchange, error, 0)

        return move

    return _patch(Settler, "_move", mutate)


def copies_keep_the_brokers_headers() -> Any:
    return patch.object(headers, "BROKER_PREFIXES", ("x-none",))


def suspects_stay_among_their_neighbours() -> Any:
    return patch.object(intake, "_SUSPECT_AFTER", 10**9)


def everything_delivered_again_is_a_suspect() -> Any:
    return patch.object(intake, "_SUSPECT_AFTER", 1)


@contextmanager
def suspects_are_taken_beside_writes() -> Iterator[None]:
    """At once and among the others, as a consumer would."""

    @asynccontextmanager
    async def nobody_waits(self: suspects.Suspects) -> AsyncIterator[None]:
        yield

    with patch.object(suspects.Suspects, "others_wait", nobody_waits), patch.object(suspects, "_LOOK_SECONDS", 0.01):
        yield


def a_copy_that_is_not_taken_ends_the_session() -> Any:
    def failed(self: Publishing, reason: str, *, first: bool) -> None:
        self.end("a copy was not taken")
        raise BrokerUnavailable("a copy was not taken")

    return patch.object(Publishing, "_failed", failed)


def refusals_are_not_answered() -> Any:
    async def silent(self: Settler, delivery: Any, error: Any) -> None: ...

    return patch.object(Settler, "_reply_error", silent)


def one_offender_condemns_its_batch() -> Any:
    async def apply(self: CollectionWriter, commands: list[Any], reason: str, place: Place) -> None:
        try:
            outcomes: Any = await self._hold.through(lambda: self._write(commands), wanted=lambda: True)
        except Abandoned:
            outcomes = [Release() for _ in commands]
        except WorkerError as error:
            outcomes = [decide(error, c.delivery.attempt, self._policy) for c in commands]
        await self._settle(commands, outcomes, place)

    return patch.object(CollectionWriter, "_apply", apply)


def failures_stay_unsettled() -> Any:
    async def settle(self: CollectionWriter, commands: list[Any], outcomes: Any, place: Place) -> None:
        for command, outcome in zip(commands, outcomes, strict=True):
            if isinstance(outcome, Done):
                await self._settler.settle(command.delivery, outcome)

    return patch.object(CollectionWriter, "_settle", settle)


def retries_return_into_the_live_lane() -> Any:
    return patch.object(Settler, "_tier", lambda self, _, seconds: self._names.retry(seconds))


def a_clients_lane_is_carried_on() -> Any:
    def mutate(original: Any) -> Any:
        async def move(self: Settler, delivery: Any, *args: Any, **named: Any) -> None:
            delivery.lane = delivery.properties.headers.get(headers.LANE, delivery.lane)
            await original(self, delivery, *args, **named)

        return move

    return _patch(Settler, "_move", mutate)


def a_clients_tenant_is_trusted() -> Any:
    def mutate(original: Any) -> Any:
        def sent(self: Whose, exchange: str, given: Any) -> Any:
            return given.get(headers.TENANT) or original(self, exchange, given)

        return sent

    return _patch(Whose, "sent", mutate)


def copies_do_not_say_whose_they_are() -> Any:
    def mutate(original: Any) -> Any:
        async def move(self: Settler, delivery: Any, *args: Any, **named: Any) -> Any:
            whose, delivery.tenant = delivery.tenant, None
            try:
                return await original(self, delivery, *args, **named)
            finally:
                delivery.tenant = whose

        return move

    return _patch(Settler, "_move", mutate)


def answers_go_where_the_client_says() -> Any:
    return patch.object(ReplyTo, "accepts", lambda self, address, tenant=None: True)


def an_older_file_stays_in_force() -> Any:
    return patch.object(AppliedFile, "outdates", lambda self, own: "")


def a_removed_tenant_is_served() -> Any:
    async def discard(self: Pipeline, tenants: frozenset[str]) -> None: ...

    return patch.object(Pipeline, "discard", discard)


def rates_are_not_kept() -> Any:
    return patch.object(LanePause, "check", lambda self: None)


def paused_lanes_have_no_turn() -> Any:
    return patch.object(BytePause, "_may_resume", lambda self, size: False)


def bytes_of_settled_messages_are_not_returned() -> Any:
    return patch.object(LaneBytes, "settled", lambda self, size: None)


def all_tenants_write_to_one_collection() -> Any:
    return patch.object(OwnSpace, "collection", lambda self, name: name)


MUTANTS: tuple[Callable[[], Any], ...] = (
    ack_before_write,
    versions_are_not_read,
    a_later_version_in_a_batch_always_wins,
    copies_are_not_waited_for,
    ids_in_flight_hold_nothing_back,
    later_writes_go_first,
    an_outage_drops_what_waits,
    an_outage_costs_attempts,
    a_hard_stop_settles_what_it_cuts_off,
    what_is_handed_back_is_acknowledged,
    deliveries_are_settled_twice,
    acks_cross_channels,
    an_ack_covers_what_is_still_open,
    attempts_are_not_counted,
    copies_keep_the_brokers_headers,
    suspects_stay_among_their_neighbours,
    everything_delivered_again_is_a_suspect,
    suspects_are_taken_beside_writes,
    a_copy_that_is_not_taken_ends_the_session,
    refusals_are_not_answered,
    one_offender_condemns_its_batch,
    failures_stay_unsettled,
    retries_return_into_the_live_lane,
    a_clients_lane_is_carried_on,
    a_clients_tenant_is_trusted,
    copies_do_not_say_whose_they_are,
    answers_go_where_the_client_says,
    an_older_file_stays_in_force,
    a_removed_tenant_is_served,
    rates_are_not_kept,
    paused_lanes_have_no_turn,
    bytes_of_settled_messages_are_not_returned,
    all_tenants_write_to_one_collection,
)
