"""What an experiment plays on: a virtual host and an engine of its own, workers, a ledger, and the reckoning."""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
import time
from collections import Counter
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from qdrant_client import grpc as q
from qdrant_client.grpc import collections_service_pb2_grpc

from tests.chaos.checker import Rules, check
from tests.chaos.crew import Crew
from tests.chaos.entry import Orders
from tests.chaos.evidence import Evidence, dead_letters, depths, scan, strangers
from tests.chaos.figures import Figures
from tests.chaos.ledger import COLLECTION, DIMENSIONS, Ledger
from tests.chaos.source import Making, SdkSource, Wire
from tests.support.broker import own_address
from tests.support.engine import EmbeddedEngine, embedded_engine
from tests.support.tcp_proxy import Way
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from stack.broker import Broker, Server
    from tests.support.broker import Address
    from tests.support.tcp_proxy import TcpProxy

_STOP_SECONDS = 25.0
# Of AMQP 0-9-1: how a client begins, and the method frame of channel.open, without its arguments.
_GREETING = b"AMQP\x00\x00\x09\x01"
_CHANNEL_OPEN = b"\x00\x14\x00\x0a"


@dataclass(frozen=True, slots=True)
class Ground:
    """What the runner provides. server: a broker that may be killed; None where the experiment does not ask for one."""

    broker: Broker
    directory: Path
    server: Server | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it. kills: or other faults, of each kind.   drain_seconds: for the backlog to end after healing."""

    seed: int = 1
    messages: int = 500
    kills: int = 5
    seconds: float = 10.0
    drain_seconds: float = 60.0
    mutant: str | None = None
    python: str = sys.executable  # of the workers


@dataclass
class Scene:
    name: str
    plan: Plan
    ground: Ground
    address: Address
    engine: EmbeddedEngine
    ledger: Ledger
    making: Making
    chance: random.Random
    began: float = field(default_factory=time.monotonic)
    faults: Counter[str] = field(default_factory=Counter)
    notes: dict[str, float] = field(default_factory=dict)
    collection: str = COLLECTION  # of the messages in the ledger, as the store names it
    queues: list[str] = field(default_factory=list)  # of tenants: they have to be empty at the end
    known: set[str] = field(default_factory=set)  # queues, exchanges and collections of the experiment itself
    crews: list[Crew] = field(default_factory=list)
    amqp_url: str = ""
    store_url: str = ""
    scanned_url: str = ""  # of a store other than the engine, and its API key
    scanned_key: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    openings: list[float] = field(default_factory=list)

    async def crew(self, workers: int = 1, **orders: Any) -> Crew:
        """Workers that are ready."""
        crew = self.hire(workers, **orders)
        await crew.ready()
        return crew

    def hire(self, workers: int = 1, wrapper: tuple[str, ...] = (), **orders: Any) -> Crew:
        given = Orders(seed=self.plan.seed, workers=workers, mutant=self.plan.mutant, **orders)
        settings = {
            "amqp_url": self.amqp_url or self.address.url,
            "prefix": self.address.prefix,
            "qdrant_url": self.store_url or self.engine.url,
            "metrics_port": 0,
            "store_timeout_seconds": 3,
            "drain_seconds": 6,
            "amqp_timeout_seconds": 5,
            "max_attempts": 2,
            "log_format": "json",
            **self.settings,
        }
        crew = Crew(given, settings, wrapper, self.plan.python)
        self.crews.append(crew)
        return crew

    def sdk(
        self, url: str | list[str] | None = None, confirm_seconds: float = 10.0, tenant: str | None = None
    ) -> SdkSource:
        return SdkSource(self.address, self.ledger, url, confirm_seconds, tenant)

    def watch(self, proxy: TcpProxy) -> None:
        """Note when a client behind this proxy opens a connection or a channel."""

        def seen(way: Way, chunk: bytes) -> None:
            if way is Way.UP:
                opened = chunk.count(_GREETING) + chunk.count(_CHANNEL_OPEN)
                self.openings.extend([time.monotonic()] * opened)

        proxy.watch(seen)

    def wire(self) -> Wire:
        wire = Wire(self.address, self.ledger)
        self.known.add(wire.replies)
        return wire

    async def dismiss(self, crew: Crew) -> int:
        """Stops its workers in order; a worker that had to cut its drain short counts as one that failed."""
        code = await crew.stop(_STOP_SECONDS)
        self.crews.remove(crew)
        self.log.append(crew.text)
        if crew.logged("worker stopped before drained"):
            code = code or 1
        self.exits.append(code)
        return code

    async def empty(self, within: float) -> bool:
        """Whether nothing is left to deliver, now or from a retry tier, `within` seconds at the latest."""

        async def nothing_ready() -> bool:
            ready, _ = await depths(self.address, self.queues)
            return not any(n for name, n in ready.items() if not name.endswith((".dead", ".query", ".store")))

        try:
            await until(nothing_ready, within=within, every=0.1)
        except AssertionError:
            return False
        return True

    async def finish(self, rules: Rules) -> Figures:
        """Lets the backlog end, stops the workers, and checks the ledger against what is there."""
        evidence = Evidence(drained=await self._drained())
        evidence.exits = self.exits
        evidence.points, collections = await scan(
            self.scanned_url or self.engine.url, self.scanned_key, self.collection
        )
        evidence.collections = collections - self.known
        evidence.ready, evidence.consumers = await depths(self.address, self.queues)
        evidence.dead = await dead_letters(self.address)
        evidence.strange_queues, evidence.strange_exchanges = await asyncio.to_thread(
            strangers, self.address, self.known
        )
        evidence.log = "".join(self.log)
        evidence.openings = self.openings
        record = self.ledger.read()
        return Figures(
            experiment=self.name,
            seed=self.plan.seed,
            messages=len(record.confirmed),
            replies=len(record.replies),
            dead=len(evidence.dead),
            faults=dict(self.faults),
            seconds=time.monotonic() - self.began,
            broker=self.ground.broker.version or "unknown",
            mutant=self.plan.mutant,
            violations=check(record, evidence, rules),
            notes=self.notes,
        )

    async def _drained(self) -> bool:
        """A delivery that is not settled shows in no queue's depth: only a stop makes it visible, or settles it."""
        deadline = time.monotonic() + self.plan.drain_seconds
        for crew in self.crews:
            crew.disarm()
        while True:
            empty = await self.empty(max(1.0, deadline - time.monotonic()))
            for crew in list(self.crews):
                await self.dismiss(crew)
            if not empty or time.monotonic() > deadline:
                return empty and await self.empty(1.0)
            if await self.empty(0.2):
                return True
            await self.crew()


@asynccontextmanager
async def scene(
    ground: Ground, name: str, plan: Plan, *, engine_options: dict[str, object] | None = None
) -> AsyncIterator[Scene]:
    """The collection exists and no worker runs yet. Everything is ended with the block, in whatever state it is."""
    run = secrets.token_hex(4)
    place = ground.directory / f"{name.replace(' ', '-')}-{run}"
    place.mkdir()
    with ExitStack() as stack:
        address = await asyncio.to_thread(stack.enter_context, own_address(ground.broker))
        options = {"flush_seconds": 0.5, **(engine_options or {})}
        engine = await asyncio.to_thread(stack.enter_context, embedded_engine(place / "data", **options))
        ledger = stack.enter_context(Ledger(place / "ledger.jsonl", run))
        await make_collection(engine.url)
        chance = random.Random(plan.seed)
        playing = Scene(name, plan, ground, address, engine, ledger, Making(run), chance)
        try:
            yield playing
        finally:
            for crew in playing.crews:
                crew.kill()
                await crew.stop(_STOP_SECONDS)


async def make_collection(store: str) -> None:
    """Dot product: a cosine collection would store other numbers than were sent."""
    async with grpc.aio.insecure_channel(store.removeprefix("http://")) as channel:
        about: Any = collections_service_pb2_grpc.CollectionsStub(channel)
        size: Any = q.VectorParams(size=DIMENSIONS, distance=q.Distance.Dot)
        await about.Create(
            q.CreateCollection(collection_name=COLLECTION, vectors_config=q.VectorsConfig(params=size)), timeout=30
        )
