"""Every delivery and what became of it. Nothing may be acknowledged without a reason that can be checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memq_schemas import Names, headers
from memq_schemas.tenants import Whose
from memq_schemas.topology import LIVE, RETRY_SECONDS
from tests.simulation.model import DEAD_CODES, MAX_ATTEMPTS
from tests.simulation.scheduler import EPOCH
from tests.simulation.tenants import FENCED_SECONDS, GONE, LANES

if TYPE_CHECKING:
    from tests.simulation.broker import Copy
    from tests.simulation.channel import Channel
    from tests.simulation.model import Message
    from tests.simulation.world import World

NAMES = Names()
# Why a message waits: its collection is slow, or does not answer while others do.
PARKED, HELD = "overloaded", "store_unavailable"
_TIERS = {
    NAMES.retry(seconds, internal=internal): (attempt, internal)
    for internal in (False, True)
    for attempt, seconds in enumerate(RETRY_SECONDS, 1)
}
_REPLIES = f"{NAMES.prefix}.r."
_WHOSE = Whose(NAMES)


@dataclass(slots=True, eq=False)
class Publication:
    process: int
    exchange: str
    routing_key: str
    body: bytes
    headers: dict[str, Any]
    reply_to: str | None
    correlation_id: str | None
    answer: str = ""

    @property
    def is_reply(self) -> bool:
        return not self.exchange or self.exchange.startswith(_REPLIES)


@dataclass(slots=True, eq=False)
class Delivered:
    copy: Copy
    process: int
    step: int
    index: int
    queue: str
    at: float
    publications: list[Publication] = field(default_factory=list[Publication])


class Ledger:
    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[Channel, dict[int, Delivered]] = {}
        self._named: dict[str, Delivered] = {}
        self.kept: dict[int, list[Publication]] = {}  # copies that the broker has put into a queue
        self.fates: dict[int, set[str]] = {}
        self.written: dict[str | None, list[tuple[float, int]]] = {}  # by tenant: when, and how many points

    def _fate(self, message: Message, fate: str) -> None:
        self._world.log(fate, message.n)
        self.fates.setdefault(message.n, set()).add(fate)

    def expired(self, copy: Copy) -> None:
        """The broker has dropped it: a request that nobody took in time, or one that was lost with a restart."""
        if not copy.message.is_request:
            self._world.fail(f"{copy.message.n} was dropped by the broker")
        self._fate(copy.message, "expired")

    def dead(self, copy: Copy) -> None:
        """At the end: what lies among the dead letters."""
        message = copy.message
        reason = copy.headers.get(headers.ERROR_CODE) or copy.headers.get("x-first-death-reason")
        # The broker gives a poison up, which may have been parked before.
        whose = _WHOSE.dead(copy.headers)
        if whose != message.tenant:
            self._world.fail(f"the dead letter {message.n} of {message.tenant} is {whose}'s")
        forbidden = message.tenant == GONE and reason == "forbidden"
        expected = reason in DEAD_CODES.get(message.kind, ()) or (message.kind == "poison" and reason in (PARKED, HELD))
        if not expected and not forbidden:
            self._world.fail(f"{message.n} ({message.kind}) is a dead letter: {reason}")
        self._fate(message, "dead")

    def delivered(self, channel: Channel, tag: int, copy: Copy, name: str) -> None:
        world, message = self._world, copy.message
        taken = self._open.setdefault(channel, {})
        if LANES.get(channel.queue, message.lane) != message.lane and not message.is_request:
            world.fail(f"{message.n} of the lane {message.lane} comes from {channel.queue}")
        self._check_generation(channel, message)
        world.log("deliver", channel.connection.process.number, channel.queue, tag, message.n, copy.count)
        taken[tag] = self._named[name] = Delivered(
            copy, channel.connection.process.number, world.step, tag, channel.queue, world.loop.time()
        )
        channel.connection.process.took(channel, message.n, tag)

    def _check_generation(self, channel: Channel, message: Message) -> None:
        world, files = self._world, channel.connection.process.files
        rollout, now = world.scenario.rollout, world.loop.time()
        if message.tenant is None or files is None or rollout is None:
            return
        if files.generation < rollout.generation(now) and now > rollout.applied + FENCED_SECONDS:
            world.fail(f"{message.n} of {message.tenant} comes to a worker with generation {files.generation}")

    def published(self, publication: Publication) -> None:
        delivered = self._named.get(publication.correlation_id or "")
        if delivered is None or delivered.process != publication.process:
            self._world.fail(f"published for {publication.correlation_id}, which is not held: {publication.exchange}")
            return
        delivered.publications.append(publication)
        message = delivered.copy.message
        if not publication.is_reply:
            self._check_copy(delivered, publication)
        elif message.forged_reply:
            self._world.fail(f"{message.n} of {message.tenant} is answered to {publication.routing_key}")
        elif message.tenant is not None and publication.exchange != f"{_REPLIES}{message.tenant}":
            self._world.fail(f"{message.n} of {message.tenant} is answered through {publication.exchange or 'default'}")

    def _check_copy(self, delivered: Delivered, publication: Publication) -> None:
        world, copy, message = self._world, delivered.copy, delivered.copy.message
        before, count = copy.headers.get(headers.RETRY_COUNT, 0), publication.headers.get(headers.RETRY_COUNT, -1)
        target = publication.exchange
        if publication.body != message.body or publication.routing_key != message.key:
            world.fail(f"{message.n} changed on its way to {target}")
        if any(name.startswith(headers.BROKER_PREFIXES) for name in publication.headers):
            world.fail(f"the copy of {message.n} carries the broker's headers")
        if publication.headers.get(headers.LANE, LIVE) != message.lane:
            world.fail(f"the copy of {message.n} of the lane {message.lane} says {publication.headers}")
        if publication.headers.get(headers.TENANT) != message.tenant:
            world.fail(f"the copy of {message.n} of {message.tenant} says {publication.headers}")
        if target in _TIERS:
            failed = world.points.failures.get(message.n, 0)
            attempt, internal = _TIERS[target]
            if internal != (message.lane != LIVE):
                world.fail(f"{message.n} of the lane {message.lane} goes to {target}")
            if self._parked(publication):
                # With several collections, one that does not answer beside others is held as well.
                held = publication.headers[headers.ERROR_CODE] == HELD and world.scenario.rollout is not None
                if count != before or not (held or world.points.slow(delivered.process, world.loop.time())):
                    world.fail(f"{message.n} is parked with a count of {count}, and no write was slow")
            elif count != before + 1 or attempt != count or count > failed:
                world.fail(f"{message.n} failed {failed} times and goes to {target}: {publication.headers}")
        elif target == NAMES.dead:
            code = publication.headers.get(headers.ERROR_CODE)
            known = code in DEAD_CODES.get(message.kind, set()) or (message.tenant == GONE and code == "forbidden")
            if count != before or not known:
                world.fail(f"{message.n} ({message.kind}) is dead-lettered for {code} with a count of {count}")
            rollout = world.scenario.rollout
            if message.tenant == GONE and rollout and delivered.at > rollout.applied + FENCED_SECONDS:
                world.fail(f"{message.n} of {GONE} is dead-lettered after its removal")
            if message.kind == "failing" and code != "forbidden" and before + 1 != MAX_ATTEMPTS:
                world.fail(f"{message.n} is dead-lettered after {before + 1} attempts")
        elif target == NAMES.suspect:
            # A suspect that is handed back goes to the end of its queue as a copy that has not been counted.
            if count != before or (copy.count < 2 and delivered.queue != NAMES.suspect):
                world.fail(f"{message.n}, delivered {copy.count + 1} times, is a suspect with a count of {count}")
        else:
            world.fail(f"{message.n} goes to {target}")

    def _parked(self, publication: Publication) -> bool:
        return publication.headers.get(headers.ERROR_CODE) in (PARKED, HELD) and headers.PARKED in publication.headers

    def acked(self, channel: Channel, tag: int, multiple: bool) -> None:
        taken = self._open.get(channel, {})
        if tag not in taken:
            self._world.fail(f"tag {tag} is acknowledged, and not open on its channel")
        for settled in [t for t in taken if t == tag or (multiple and t < tag)]:
            self._justify(channel, taken.pop(settled))

    def nacked(self, channel: Channel, tag: int, multiple: bool, requeue: bool) -> None:
        taken = self._open.get(channel, {})
        if tag not in taken:
            self._world.fail(f"tag {tag} is handed back, and not open on its channel")
        for settled in [t for t in taken if t == tag or (multiple and t < tag)]:
            delivered = taken.pop(settled)
            if not requeue:
                self._world.fail(f"{delivered.copy.message.n} is given up")

    def _justify(self, channel: Channel, delivered: Delivered) -> None:
        message = delivered.copy.message
        moves = [p for p in delivered.publications if not p.is_reply and p.answer == "confirmed"]
        replies = [p for p in delivered.publications if p.is_reply and p.answer]
        answered = bool(replies) or message.reply_to is None or message.forged_reply
        if len(moves) > 1 or len(replies) > 1:
            self._world.fail(f"{message.n} is moved {len(moves)} times and answered {len(replies)} times")
        if message.is_request:
            late = message.deadline is not None and EPOCH + self._world.loop.time() >= message.deadline
            if not answered and not late and not self._discarded(message):
                self._world.fail(f"request {message.n} is acknowledged without an answer")
            self._fate(message, "answered" if answered else "expired")
        elif moves:
            # One that is handed back may have been written by a store that was too late to say so.
            handed_back = delivered.queue == moves[0].exchange == NAMES.suspect
            # An answer that is lost while the store answers others is the suspect's own failure, and it is retried.
            handed_back |= delivered.queue == NAMES.suspect and message.n in self._world.points.lost
            if self._wrote(channel, delivered) and not handed_back:
                self._world.fail(f"{message.n} is both written and moved to {moves[0].exchange}")
            if moves[0].exchange == NAMES.dead and not answered:
                self._world.fail(f"{message.n} is dead-lettered without an answer")
        elif not self._reached(channel, delivered):
            if self._discarded(message):
                self._fate(message, "discarded")
                return
            self._world.fail(f"{message.n} ({message.kind}) is acknowledged, and neither written nor moved")
        else:
            # Written by a worker that did not confirm it, and discarded when it came again.
            if not answered and not self._discarded(message):
                self._world.fail(f"{message.n} is written and acknowledged without an answer")
            channel.connection.process.applied(channel, message, delivered.index)
            self.written.setdefault(message.tenant, []).append((self._world.loop.time(), len(message.ids)))
            self._fate(message, "applied")

    def _discarded(self, message: Message) -> bool:
        return message.tenant == GONE and self._world.gone

    def _wrote(self, channel: Channel, delivered: Delivered) -> bool:
        message, process = delivered.copy.message, channel.connection.process.number
        events = self._world.points.events.get(message.ids[0], ())
        if any(copy.answer != "confirmed" for copy in self.kept.get(message.n, ())):
            return False  # kept and not confirmed, a copy comes and is written in its own right
        return any(e.n == message.n and e.began > delivered.step and e.process == process for e in events)

    def _reached(self, channel: Channel, delivered: Delivered) -> bool:
        """Whether the store has had each of its points, or a newer one of the same id in its place."""
        message, process = delivered.copy.message, channel.connection.process
        for point in message.ids:
            for event in self._world.points.events.get(point, ()):
                if event.n == message.n:
                    break
                if message.version is not None and (event.version or 0) >= message.version:
                    break
                later = process.place(event.n, channel) > delivered.index
                # Between lanes there is no order.
                other = self._world.messages[event.n].lane != message.lane
                if message.version is None and (later or other) and event.step > delivered.step:
                    break
            else:
                return False
        return True
