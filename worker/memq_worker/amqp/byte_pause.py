"""Pause of lanes while the worker holds more bytes than it may. The paused lanes take turns."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from memq_amqp.tasks import stop

from memq_worker.amqp.failure import lost
from memq_worker.amqp.prefetch import Consumer, HeldBytes, LaneBytes
from memq_worker.amqp.watch import Depth, Unseen
from memq_worker.errors import BrokerUnavailable

REASON = "the worker holds as many bytes as it may"
_TURNS = 16  # a turn ends after this part of the limit, so turns are no more frequent than the bytes allow
_MOST_SECONDS = 1.0  # between two turns, whatever the worker holds


class BytePause:
    """Pauses lanes once the unsettled bodies of a worker exceed `most` bytes.

    Every lane that yields is paused then. When half of the bytes are settled the lanes are resumed, the one that has
    been paused for longest first, while the bodies that they are about to receive fit. A lane with waiting messages
    that has received its part is paused again, behind the others. Deliveries stay with their channel and are settled
    as usual. A lane is resumed each second while bodies are settled, and at once if no lane that yields holds any.
    """

    def __init__(
        self,
        most: int,
        depth: Callable[[str], Awaitable[Depth]],
        timeout: float,
        failed: Callable[[str], None],
    ) -> None:
        """depth: returns the depth of a queue.   failed: is told why a consumer could not be paused or resumed."""
        self._total = HeldBytes(most)
        self.stopped = False
        """No writes are consumed, whatever they hold."""
        self._turn = most // _TURNS
        self._depth = depth
        self._timeout = timeout
        self._failed = failed
        self._lanes: dict[LaneBytes, None] = {}  # those that yield
        self._finished: dict[LaneBytes, None] = {}  # their turn is over
        self._expected = 0
        self._size = 0  # of the latest body that a paused lane may be compared with
        # The lane whose turn is next; the messages that it would receive, and bytes of each.
        self._next: tuple[LaneBytes, int, int] | None = None
        self._falling = False  # since the limit was exceeded, until half of it is settled
        self._resumed = 0.0  # on the monotonic clock
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def paused(self) -> int:
        """Number of lanes that wait for their turn."""
        return len(self._total.waiting)

    @property
    def most(self) -> int:
        return self._total.most

    @property
    def held(self) -> int:
        """Bytes of all unsettled bodies."""
        return self._total.held

    def add(self, consumer: Consumer, *, yields: bool) -> LaneBytes:
        """Return the account of a lane that is about to consume. `paused`: it has to wait for its turn."""
        lane = LaneBytes(self._total, self, consumer, yields=yields)
        if yields:
            self._lanes[lane] = None
            if self._total.waiting or self.held > self.most:
                lane.paused = True
                self._total.waiting = {lane: None, **self._total.waiting}  # it has had no turn
                self.look()
        return lane

    def delivered(self, lane: LaneBytes, size: int) -> None:
        """Look at a delivery that is counted, while lanes wait or the limit is exceeded."""
        if self._total.waiting or lane.expected:
            self._expect(lane, lane.due - 1, size)
            lane.received += size
            if lane.yields and not lane.paused and (self._falling or lane.received >= self._turn):
                self._finished[lane] = None
        if self._total.waiting or self.held > self.most:
            self._size = size
            self.look()

    def leave(self, lane: LaneBytes) -> None:
        self._expect(lane, 0)
        for lanes in (self._lanes, self._total.waiting, self._finished):
            lanes.pop(lane, None)
        if self._next is not None and self._next[0] is lane:
            self._next = None

    def look(self) -> None:
        """Begin the next step if there is one. To be called after anything that it depends on."""
        if self._task is None and self._step() is not None:
            self._task = asyncio.create_task(self._work())

    def go_on(self) -> None:
        """Let lanes take turns again after `stopped`."""
        self.stopped = False
        self.look()
        if self._task is None:
            self._wait()

    def end(self) -> None:
        """End with the session."""
        self.stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and self._task is not asyncio.current_task():
            stop(self._task)

    def _expect(self, lane: LaneBytes, messages: int, size: int = 0) -> None:
        lane.due = max(messages, 0)
        expected = lane.due * size
        self._expected += expected - lane.expected
        lane.expected = expected

    async def _work(self) -> None:
        try:
            with lost():
                while (step := self._step()) is not None:
                    await step()
        except BrokerUnavailable as error:
            self._failed(str(error))
        finally:
            self._task = None
        self._wait()

    def _wait(self) -> None:
        if (self._total.waiting or self._expected) and self._timer is None and not self.stopped:
            self._timer = asyncio.get_running_loop().call_later(_MOST_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for lane in self._lanes:  # another worker has received what was expected
            self._expect(lane, 0)
        self.look()
        if self._task is None:
            self._wait()

    def _step(self) -> Callable[[], Awaitable[None]] | None:
        if self.held <= self.most // 2:
            self._falling = False
        if self.stopped:
            return None
        if self.held > self.most and not self._falling and len(self._total.waiting) < len(self._lanes):
            return self._pause_all
        if not self._total.waiting:
            self._finished.clear()
            return None
        return self._end_turns if self._finished else self._next_turn()

    def _next_turn(self) -> Callable[[], Awaitable[None]] | None:
        if not self._may_resume(0):
            return None
        if self._next is None:
            return self._choose
        _, messages, size = self._next
        return self._resume if self._may_resume(messages * size) else None

    def _may_resume(self, size: int) -> bool:
        """Return True if a lane that is about to receive so many bytes may be resumed."""
        total = self.held + self._expected
        if not self._falling and (total <= self.most // 2 or total + size <= self.most):
            return True
        if self._total.yielding + self._expected == 0:
            return True
        return self._total.settled and time.monotonic() - self._resumed >= _MOST_SECONDS

    async def _pause_all(self) -> None:
        self._falling = True
        self._resumed, self._total.settled = time.monotonic(), False
        lanes = [lane for lane in self._lanes if not lane.paused]
        # Lanes that hold nothing come first, since the others have had a turn.
        await self._pause(sorted(lanes, key=lambda lane: lane.held > 0))

    async def _end_turns(self) -> None:
        lanes, self._finished = self._finished, {}
        await self._pause([lane for lane in lanes if not lane.paused])

    async def _pause(self, lanes: list[LaneBytes]) -> None:
        for lane in lanes:
            self._expect(lane, 0)
            lane.paused = True
            self._total.waiting[lane] = None
        await asyncio.gather(*(lane.consumer.stop_consuming(self._timeout, REASON) for lane in lanes))

    async def _choose(self) -> None:
        """Find out how much the next lane is about to receive. A little is assumed of a lane of small bodies."""
        lane = next(iter(self._total.waiting))
        window = lane.consumer.renew_prefetch()
        size = lane.size or self._size
        if window * size > self._turn:
            try:
                ready = (await self._depth(lane.consumer.queue)).messages
            except Unseen:
                ready = 0
            window = min(ready, window)
        if lane in self._total.waiting:
            self._next = lane, window, size

    async def _resume(self) -> None:
        if self._next is None:
            return
        (lane, messages, size), self._next = self._next, None
        self._resumed, self._total.settled = time.monotonic(), False
        del self._total.waiting[lane]
        lane.paused, lane.received = False, 0
        self._expect(lane, messages, size)
        await lane.consumer.resume_consuming(self._timeout, REASON)
