"""A broker that refuses what workers and producers publish, for a while or for good, beside what it accepts."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import aio_pika

from memq import MessageTooLarge, Producer
from memq_schemas import Names
from stack.node import Node
from tests.chaos.checker import Rules
from tests.chaos.ledger import COLLECTION
from tests.chaos.missing import Missing
from tests.chaos.scene import Ground, Plan, Scene, scene
from tests.support.broker import depth
from tests.support.tcp_proxy import tcp_proxy
from tests.support.until import until
from tests.support.user import User

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.chaos.crew import Crew
    from tests.chaos.figures import Figures
    from tests.chaos.source import SdkSource, Wire

_REFUSED = 40  # messages that become dead letters, beside as many good ones, during each refusal
_OPENINGS = 80  # what a worker needs to start, and copies that were under way at the first refusal
_REFUSING = "broker refuses retry and dead-letter copies"
_LARGEST = 20_000


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.messages messages in all, half of them refused. A worker waits for repair and loses no session."""
    async with scene(ground, "refusing broker", plan) as playing:
        if playing.address.management_url is None:
            raise Missing("RabbitMQ's HTTP API is needed to make a user")
        declaring = await playing.crew()
        await playing.dismiss(declaring)
        with _behind(playing) as user:
            crew = await playing.crew()
            async with playing.sdk() as source, playing.wire() as wire:
                for _ in range(max(1, plan.messages // 60)):
                    await _round(playing, user, crew, source, wire)
                await _all_answered(playing)
            return await playing.finish(Rules(answers=True, connected=True, openings=_OPENINGS))


@contextmanager
def _behind(playing: Scene) -> Iterator[User]:
    """A user of the workers' own, behind a proxy that notes what they open."""
    user = User(playing.address)
    user.make()
    try:
        user.may(configure=".*")
        with tcp_proxy(playing.address.url) as proxy:
            playing.watch(proxy)
            playing.amqp_url = proxy.url(user.url)
            yield user
    finally:
        user.remove()


async def _round(playing: Scene, user: User, crew: Crew, source: SdkSource, wire: Wire) -> None:
    dead = Names(playing.address.prefix).dead
    await asyncio.to_thread(user.may, configure=".*", write=f"^(?!{dead}$).*")
    await _refused(playing, "dead letters forbidden", crew, source, wire)
    await asyncio.to_thread(user.may, configure=".*")
    await _repaired(playing)

    letters = await depth(playing.address, dead)
    await asyncio.to_thread(user.policy, "full", dead, **{"max-length": letters, "overflow": "reject-publish"})
    await _refused(playing, "queue of the dead letters full", crew, source, wire)
    await asyncio.to_thread(user.policy, "full", dead)
    await _repaired(playing)

    async with await aio_pika.connect(playing.address.url) as connection:
        channel = await connection.channel()
        # Declared again by the worker, so there may be nothing to wait for.
        for missing in ("exchange", "binding"):
            queue = await channel.get_queue(dead, ensure=False)
            await (channel.exchange_delete(dead) if missing == "exchange" else queue.unbind(dead, ""))
            await _send(playing, f"{missing} of the dead letters deleted", source, wire)
            await _repaired(playing)


async def _refused(playing: Scene, fault: str, crew: Crew, source: SdkSource, wire: Wire) -> None:
    times = len(crew.logged(_REFUSING))
    await _send(playing, fault, source, wire)
    with suppress(AssertionError):  # a broken worker says nothing, and the checker has to see it
        await crew.until(_REFUSING, count=times + 1, within=10)
    # Some backoff has to pass for a worker without one to be seen.
    await asyncio.sleep(5.0)


async def _repaired(playing: Scene) -> None:
    """Return when all that was refused so far is a dead letter, or at the end of the time for draining."""
    wanted = _REFUSED * playing.faults.total()

    async def there() -> bool:
        return await depth(playing.address, Names(playing.address.prefix).dead) >= wanted

    with suppress(AssertionError):
        await until(there, within=playing.plan.drain_seconds, every=0.2)


async def _all_answered(playing: Scene) -> None:
    """Return at the end of the time for draining in any case: the checker tells what is missing."""

    def answered() -> bool:
        record = playing.ledger.read()
        return record.asked.keys() <= {reply.correlation_id for reply in record.replies}

    with suppress(AssertionError):
        await until(answered, within=playing.plan.drain_seconds, every=0.2)


async def _send(playing: Scene, fault: str, source: SdkSource, wire: Wire) -> None:
    making = playing.making
    await asyncio.gather(*(wire.send_with_receipt(making.message(1, expected="refused")) for _ in range(_REFUSED)))
    await source.send(making.messages(_REFUSED))
    playing.faults[fault] += 1


async def run_small(ground: Ground, plan: Plan) -> Figures:
    """Replies, dead letters and a producer's messages beyond what the broker takes, among plan.messages within it."""
    server = ground.server
    if not isinstance(server, Node):
        raise Missing("a node of its own is needed, to change its limit")
    async with scene(ground, "small messages", plan) as playing:
        with tcp_proxy(playing.address.url) as proxy:
            playing.watch(proxy)
            playing.amqp_url = proxy.url(playing.address.url)
            await playing.crew()
            async with playing.sdk(proxy.url(playing.address.url)) as source, playing.wire() as wire:
                large = playing.making.message(600, expected="either")
                await source.send([large])
                # As in rabbitmq.conf; RabbitMQ 3.10 keeps the limit outside its environment once it runs.
                for setting in ("application:set_env(rabbit, max_message_size", "persistent_term:put(max_message_size"):
                    await asyncio.to_thread(server.control, "eval", f"{setting}, {_LARGEST}).")
                for _ in range(max(1, plan.messages // 60)):
                    await _beyond(playing, source, wire, large.keys)
            return await playing.finish(Rules(connected=True, openings=_OPENINGS))


async def _beyond(playing: Scene, source: SdkSource, wire: Wire, keys: Sequence[int]) -> None:
    for number in range(10):
        good = asyncio.create_task(source.send(playing.making.messages(6)))
        await wire.ask(f"get.{COLLECTION}", {"ids": list(keys)}, {"operation": "large"}, delivery_mode=1)
        playing.faults["reply too large for the broker"] += 1
        if number % 2:
            await _too_large(playing)
        await good


async def _too_large(playing: Scene) -> None:
    async with Producer(playing.address.url, prefix=playing.address.prefix, confirm_timeout=20) as memq:
        row = playing.making.message(1).body["points"][0]
        row["payload"]["text"] = "x" * _LARGEST
        try:
            await memq.upsert(COLLECTION, [row])
        except MessageTooLarge:
            playing.faults["message too large for the broker"] += 1
