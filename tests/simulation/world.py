"""One run of one seed: worker processes, broker, store, and the faults between them, in virtual time."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random as global_random
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from memq_amqp import connection as amqp_connection

from memq_schemas import ErrorCode, Names
from memq_worker.errors import Outage
from tests.simulation.broker import Broker, Copy
from tests.simulation.channel import settle
from tests.simulation.model import DEAD_CODES, Injection, Message, Scenario, scenario
from tests.simulation.process import Process
from tests.simulation.scheduler import SimulatedLoop, Stuck, virtual_time
from tests.simulation.store import Away, Points
from tests.simulation.tenants import ACME, GONE

if TYPE_CHECKING:
    from collections.abc import Iterator


NAMES = Names()
MOST_STEPS = 60_000
MOST_SECONDS = 1200.0
MOST_PROCESSES = 300


@dataclass(slots=True)
class Report:
    seed: int
    failures: list[str]
    digest: str
    steps: int
    trace: list[tuple[Any, ...]] = field(repr=False, default_factory=list)


class World:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.scenario: Scenario = scenario(self.random, Random(seed + 2))
        self.loop = SimulatedLoop(Random(seed + 1), MOST_STEPS)
        self.messages: list[Message] = self.scenario.messages
        self.by_body = {message.body: message for message in self.messages}
        self.points = Points()
        self.trace: list[tuple[Any, ...]] = []
        self.failures: list[str] = []
        self.broker = Broker(self)
        self.processes: list[Process] = []
        self._made = 0
        self._ending = False
        self._quiet_from = 0.0

    @property
    def step(self) -> int:
        return len(self.trace)

    @property
    def gone(self) -> bool:
        """Return True once the tenant that leaves is removed."""
        rollout = self.scenario.rollout
        return rollout is not None and rollout.generation(self.loop.time()) == 2

    def log(self, *what: Any) -> None:
        self.trace.append((self.loop.time(), *what))

    def fail(self, reason: str) -> None:
        self.log("WRONG", reason)
        self.failures.append(reason)

    async def run(self) -> None:
        for slot in range(self.scenario.workers):
            self.processes.append(self._new_process(slot))
        for message in self.messages:
            self.loop.call_at(message.at, self._send, message)
        for injection in self.scenario.injections:
            self.loop.call_at(injection.at, self._inject, injection)
            self._quiet_from = max(self._quiet_from, injection.at + injection.seconds)
        while not self.failures and not self._quiet():
            if self.loop.time() > MOST_SECONDS:
                self.fail(f"not finished: {self._left()}")
            await asyncio.sleep(0.5)
        if not self.failures:
            await self._end()

    def _quiet(self) -> bool:
        if self.loop.time() < self._quiet_from or not self.broker.up:
            return False
        return self._left() == []

    def _left(self) -> list[tuple[str, int]]:
        resting = (NAMES.dead, NAMES.tenants)
        ready = [(q.name, c.message.n) for q in self.broker.queues.values() if q.name not in resting for c in q.ready]
        held = [
            (f"unsettled {channel.queue}", copy.message.n)
            for connection in self.broker.connections
            for channel in connection.channels
            for copy in channel.unacked.values()
            if copy.queue != NAMES.tenants
        ]
        late = [("unsent", m.n) for m in self.messages if m.at >= self.loop.time()]
        return ready + held + late

    async def _end(self) -> None:
        self._ending = True
        for process in self.processes:
            process.stop()
        await asyncio.sleep(60.0)
        left = [task for task in self.loop.tasks if task.process >= 0]
        if left:
            self.fail(f"{len(left)} tasks are left: {left[0].get_coro()}")
        if self.broker.connections:
            self.fail(f"{len(self.broker.connections)} connections are left")
        for copy in self.broker.queues[NAMES.dead].ready:
            self.broker.ledger.dead(copy)
        for message in self.messages:
            self._check(message, self.broker.ledger.fates.get(message.n, set()))
        self._check_versions()
        self._check_rate()

    def _check_rate(self) -> None:
        """Each process starts without tokens, and takes at most a few messages before it rests."""
        rollout, written = self.scenario.rollout, self.broker.ledger.written
        if rollout is None:
            return
        most, points = len(self.processes) * rollout.points_per_second, 0
        for when, number in written.get(ACME, ()):
            points += number
            if points > most * when + 8.0 * self._made:
                self.fail(f"{points} points of {ACME} are written after {when:.1f} s")
                return

    def _check(self, message: Message, fates: set[str]) -> None:
        allowed = {"dead"} if message.kind in DEAD_CODES else {"applied"}
        if message.is_request:
            allowed = {"answered", "expired"}
        if message.tenant == GONE:
            allowed |= {"dead", "discarded", "unroutable"}
        if not fates or not fates <= allowed:
            self.fail(f"{message.n} ({message.kind}) ended as {sorted(fates) or 'nothing'}, not {sorted(allowed)}")

    def _check_versions(self) -> None:
        newest: dict[int, Message] = {}
        for message in self.messages:
            applied = "applied" in self.broker.ledger.fates.get(message.n, ())
            for point in message.ids if message.kind == "versioned" and applied else ():
                if point not in newest or (newest[point].version or 0) < (message.version or 0):
                    newest[point] = message
        for point, message in newest.items():
            stored = self.points.points.get(point)
            if stored != (message.n, message.version):
                self.fail(f"point {point} holds {stored}, and {message.n} is the newest with {message.version}")

    def _new_process(self, slot: int) -> Process:
        self._made += 1
        self.log("start", slot, self._made)
        if self._made > MOST_PROCESSES:
            self.fail(f"{MOST_PROCESSES} worker processes have ended")
        process = Process(self, self._made, slot)
        process.main.add_done_callback(lambda _: self._ended(slot, process))
        return process

    def _ended(self, slot: int, process: Process) -> None:
        self.log("ended", slot, process.number)
        if not process.main.cancelled() and (error := process.main.exception()) is not None:
            self.fail(f"the worker ended: {error!r}")
        if not self._ending:
            self.loop.call_later(0.2 + self.random.random(), self._replace, slot)

    def _replace(self, slot: int) -> None:
        if not self._ending and not self.failures:
            self.processes[slot] = self._new_process(slot)

    def _send(self, message: Message) -> None:
        self.log("send", message.n, message.kind)
        target = self.broker.route(message.exchange, message.key, {})
        assert target is not None
        if message.tenant == GONE and self.gone:
            self.broker.ledger.fates[message.n] = {"unroutable"}  # with the exchange of the tenant
            return
        if not self.broker.up and message.is_request:
            self.broker.ledger.fates[message.n] = {"expired"}  # never confirmed
            return
        self.broker.put(Copy(message, target, message.exchange, dict(message.headers), message.reply_to))

    def kill(self, process: Process) -> None:
        """The process ends here and now: its tasks go no further, and the broker notices."""
        self.log("kill", process.number)
        process.dead = True
        for connection in [c for c in self.broker.connections if c.process is process]:
            connection.crash()
        for task in [t for t in self.loop.tasks if t.process == process.number]:
            task.cancel()

    def _inject(self, injection: Injection) -> None:
        self.log("inject", injection.fault, injection.seconds)
        process = self.processes[injection.worker % len(self.processes)]
        mine = [c for c in self.broker.connections if c.process is process]
        channels = [channel for connection in mine for channel in connection.channels]
        match injection.fault:
            case "disconnect" | "silence" | "channel" | "cancel":
                if not mine:
                    return
                connection = self.random.choice(mine)
                channel = self.random.choice(channels) if channels else None
                if injection.fault == "disconnect":
                    connection.die("reset")
                elif injection.fault == "silence":
                    connection.silence()
                elif channel is not None and injection.fault == "channel":
                    channel.kill("closed by the broker")
                elif channel is not None and channel.queue:
                    channel.cancel_consumer()
            case "restart":
                self.broker.restart(injection.seconds)
            case "kill":
                if not process.main.done():
                    self.kill(process)
            case "soft" | "hard":
                process.stop()
                if injection.fault == "hard":
                    self.loop.call_later(injection.seconds * self.random.random() / 10, process.stop)
            case "outage":
                error = Outage(ErrorCode.STORE_UNAVAILABLE, "away", away=injection.away)
                away = Away(self.loop.time() + injection.seconds, error, injection.hanging)
                self.points.away = away
                self.loop.call_later(injection.seconds, self._store_back, away)
            case _:
                self.broker.refusing[injection.fault] = self.loop.time() + injection.seconds

    def _store_back(self, away: Away) -> None:
        if self.points.away is away:
            self.points.away = None


@contextmanager
def _simulated(loop: SimulatedLoop, seed: int) -> Iterator[None]:
    """Everything outside a worker that it would reach: clock, jitter, the wire; and no log."""
    amqp: Any = amqp_connection
    quiet, state, wire = logging.root.manager.disable, global_random.getstate(), amqp.settle
    logging.disable(logging.CRITICAL)
    global_random.seed(seed)  # tenacity draws its jitter there
    amqp.settle = settle
    try:
        with virtual_time(loop):
            yield
    finally:
        amqp.settle = wire
        global_random.setstate(state)
        logging.disable(quiet)


def simulate(seed: int) -> Report:
    """Runs the seed's scenario to its end, or to the first thing that is wrong. The same seed is the same run."""
    world = World(seed)
    loop = world.loop
    loop.set_exception_handler(lambda _, context: world.fail(f"unhandled: {context.get('exception')!r}"))
    with closing(loop), _simulated(loop, seed):
        try:
            loop.run_until_complete(world.run())
        except Stuck as stuck:
            world.fail(str(stuck))
        _clear(loop)
    digest = hashlib.sha256(repr((world.trace, loop.choices)).encode()).hexdigest()
    return Report(seed, world.failures, digest, len(loop.choices), world.trace)


def _clear(loop: SimulatedLoop) -> None:
    loop._steps_left = MOST_STEPS
    loop.set_exception_handler(lambda *_: None)
    with suppress(Stuck, asyncio.CancelledError):
        while loop.tasks:
            for task in list(loop.tasks):
                task.cancel()
            loop.run_until_complete(asyncio.wait(list(loop.tasks), timeout=30.0))
