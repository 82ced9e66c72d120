import itertools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from memq_worker.pipeline.command import ChangePayload, DeletePoints, ReplaceVectors, UpsertPoints, Write
from memq_worker.pipeline.store import Id

_PARTS = 4  # small batches in a full one


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Limits on one write. A single message above them is a batch of its own."""

    max_points: int
    max_bytes: int
    max_messages: float = math.inf


@dataclass(slots=True, eq=False)
class Batch:
    kind: str
    commands: list[Write]
    ids: set[Id]
    barrier: bool = False

    def cost_by_lane(self, by_filter: int) -> dict[str, int]:
        """Points, or ids, of each lane. by_filter: the cost of a command that selects by filter."""
        if self.barrier:
            return {self.commands[0].delivery.lane: by_filter}
        found: dict[str, int] = {}
        for command in self.commands:
            lane = command.delivery.lane
            found[lane] = found.get(lane, 0) + len(command.ids or ())
        return found

    @property
    def alone(self) -> bool:
        """Return True if no other message may join this write."""
        return self.barrier or self.kind in ("payload", "remove vectors") or self.commands[0].delivery.alone


class WriteQueue:
    """Commands that wait to be written to one collection, by lane, and which of them may be written now.

    The commands of a lane are taken in order of arrival, except that one whose ids are free may pass one whose ids are
    in flight or wait before it. So within a lane the writes of an id keep their order, and a command that selects by
    filter keeps its place. No two writes of one id are ever in flight, whatever their lanes.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        points, size = max(1, limits.max_points // _PARTS), max(1, limits.max_bytes // _PARTS)
        self._small = replace(limits, max_points=points, max_bytes=size)
        self._lanes: dict[str, deque[Write]] = {}
        self._in_flight: set[Id] = set()
        self._barrier = False
        self._awaited: str | None = None  # the lane whose command by filter waits for the writes in flight
        self._points = self._bytes = 0

    def full(self, *, small: bool = False) -> bool:
        """Return True if a batch that reaches a limit is waiting. small: one of a quarter of the limits."""
        limits = self._small if small else self._limits
        return self._points >= limits.max_points or self._bytes >= limits.max_bytes

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    @property
    def size(self) -> int:
        """Bytes of the bodies of waiting commands."""
        return self._bytes

    @property
    def idle(self) -> bool:
        return not self._lanes and not self._in_flight and not self._barrier

    def waits(self, lane: str) -> bool:
        """Return True if the lane has commands waiting."""
        return lane in self._lanes

    def add(self, command: Write) -> None:
        lane = command.delivery.lane
        waiting = self._lanes.get(lane)
        if waiting is None:
            self._lanes[lane] = deque((command,))
        else:
            waiting.append(command)
        self._points += len(command.ids or ())
        self._bytes += len(command.delivery.body)

    def take(self, first: str | None = None, *, filter_allowed: bool = True, small: bool = False) -> Batch | None:
        """Return the next batch, or None when nothing may be written now. Its ids are in flight until `finished`.

        first: the lane whose turn it is; its commands lead the batch, those of other lanes fill it. filter_allowed: the
        batch may be a command that selects by filter. small: it takes a quarter of the limits.
        """
        if self._barrier or not self._lanes:
            return None
        first = first if first in self._lanes else self._awaited
        lead = first if first in self._lanes else next(iter(self._lanes))
        if self._awaited is not None:
            if self._awaited in self._lanes and self._awaited != lead:
                return None
            self._awaited = None
        if self._lanes[lead][0].ids is None:
            return self._alone(lead) if filter_allowed else None
        filling = _Filling(self._small if small else self._limits, self._in_flight)
        for lane in (lead, *(name for name in self._lanes if name != lead)):
            if not filling.fill(self._lanes[lane]):
                break
        for lane in [name for name, waiting in self._lanes.items() if not waiting]:
            del self._lanes[lane]
        if not filling.chosen:
            return None
        self._points -= filling.points
        self._bytes -= filling.size
        self._in_flight |= filling.ids
        return Batch(kind_of(filling.chosen[0]), filling.chosen, filling.ids)

    def _alone(self, lane: str) -> Batch | None:
        """A batch of a command by filter, once no write is in flight. Nothing else begins before it."""
        if self._in_flight:
            self._awaited = lane
            return None
        self._barrier = True
        command = self._lanes[lane].popleft()
        if not self._lanes[lane]:
            del self._lanes[lane]
        self._forget([command])
        return Batch(kind_of(command), [command], set(), barrier=True)

    def _forget(self, removed: list[Write]) -> None:
        self._points -= sum(len(command.ids or ()) for command in removed)
        self._bytes -= sum(len(command.delivery.body) for command in removed)

    def finished(self, batch: Batch) -> None:
        if batch.barrier:
            self._barrier = False
        self._in_flight -= batch.ids

    def cut(self, kept: int, kept_size: float = math.inf) -> list[Write]:
        """Take out all but the first `kept` waiting commands, of `kept_size` bytes at most, in order."""
        staying: set[int] = set()
        for command in itertools.chain.from_iterable(self._lanes.values()):
            kept_size -= len(command.delivery.body)
            if len(staying) >= kept or kept_size < 0:
                break
            staying.add(id(command))
        return self.remove(lambda command: id(command) not in staying)

    def remove(self, unwanted: Callable[[Write], bool]) -> list[Write]:
        """Take out waiting commands that are unwanted, in order."""
        removed: list[Write] = []
        for lane, waiting in list(self._lanes.items()):
            dropped = [command for command in waiting if unwanted(command)]
            if dropped:
                ids = set(map(id, dropped))
                left = deque(command for command in waiting if id(command) not in ids)
                if left:
                    self._lanes[lane] = left
                else:
                    del self._lanes[lane]
                removed += dropped
        self._forget(removed)
        return removed


class _Filling:
    """One batch while it is being put together from the lanes."""

    def __init__(self, limits: BatchLimits, in_flight: set[Id]) -> None:
        self.chosen: list[Write] = []
        self.ids: set[Id] = set()
        self.points = self.size = 0
        self._limits = limits
        self._in_flight = in_flight
        self._joined: str | None = None  # the kind of the batch; None when its command is written by itself

    def fill(self, waiting: deque[Write]) -> bool:
        """Take commands from one lane. Return False once no other command fits."""
        chosen, ids, in_flight = self.chosen, self.ids, self._in_flight
        max_points, max_bytes, max_messages = self._limits.max_points, self._limits.max_bytes, self._limits.max_messages
        points, size, joined = self.points, self.size, self._joined
        passed: list[Write] = []
        passed_ids: set[Id] = set()
        room = True
        while waiting:
            command = waiting[0]
            wanted = command.ids
            if wanted is None:
                break
            free = in_flight.isdisjoint(wanted) and passed_ids.isdisjoint(wanted)
            if not free or (chosen and (joined is None or kind_of(command) != joined or command.delivery.alone)):
                passed.append(waiting.popleft())
                passed_ids.update(wanted)
                continue
            points_then, size_then = points + len(wanted), size + len(command.delivery.body)
            if not chosen:
                joined = _joined_by(command)
            elif points_then > max_points or size_then > max_bytes or len(chosen) >= max_messages:
                room = False
                break
            points, size = points_then, size_then
            chosen.append(waiting.popleft())
            ids.update(wanted)
        waiting.extendleft(reversed(passed))
        self.points, self.size, self._joined = points, size, joined
        return room and not (chosen and joined is None)


# A payload change and a removal are no sets of points. And a point without a version is written whatever is stored; a
# later one that has a version, merged over it, would not be. Nor have two changes of a point's vectors one condition.
_NEVER_MERGED = ("payload", "mixed", "versioned vectors", "remove vectors")


def _joined_by(first: Write) -> str | None:
    """The kind of those that may be written together with it; None when it is written by itself."""
    kind = kind_of(first)
    return None if kind in _NEVER_MERGED or first.delivery.alone else kind


def kind_of(command: Write) -> str:
    """Return the kind of a command: those of one kind may be written together."""
    if isinstance(command, UpsertPoints):
        versions, mode = command.points.versions, command.points.mode
        if versions is None or mode == "insert_only":
            return mode  # no condition: those that insert_only leaves alone stay whatever their versions
        # A conditional upsert is a barrier on its shard from Qdrant 1.19 on: points without versions never share one.
        if None in versions:
            return "mixed"
        return "versioned" if mode == "upsert" else f"versioned {mode}"
    if isinstance(command, DeletePoints):
        # With versions it is a condition too.
        return "delete" if command.version is None else "versioned delete"
    if isinstance(command, ReplaceVectors):
        return "vectors" if command.points.versions is None else "versioned vectors"
    return "payload" if isinstance(command, ChangePayload) else "remove vectors"
