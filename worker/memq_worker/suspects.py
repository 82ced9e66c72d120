import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from memq_amqp import stopped

from memq_schemas import Names
from memq_worker.amqp.session import Session
from memq_worker.amqp.watch import Unseen
from memq_worker.errors import BrokerUnavailable
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.intake import Pipeline

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0  # also after the session began: a worker that dies at once has no suspect in its hands
_AGAIN_SECONDS = 0.1
_TURN_SECONDS = 0.25
_STILL_SECONDS = 5.0
_TRIAL_SECONDS = 5.0  # the most that a suspect keeps writes waiting


class Suspects:
    """Takes what is in quarantine, one message at a time, and only while no write is under way or begun.

    The broker counts it against a message that the worker died that had it in its hands, and gives it up after a few.
    So a suspect is in nobody's hands while anything else could be what kills, and whatever has been delivered waits
    while a suspect is tried.
    """

    def __init__(self, pipeline: Pipeline, names: Names, allowed: Callable[[], bool]) -> None:
        """allowed: returns whether this worker may take suspects, which may be a tenant's."""
        self._pipeline = pipeline
        self._names = names
        self._allowed = allowed

    async def watch(self, session: Session) -> None:
        """Run until the session ends."""
        try:
            while True:
                await asyncio.sleep(_LOOK_SECONDS)
                more = await self._waiting(session)
                while more and await self._turn(session):
                    # The writes that have waited meanwhile have theirs.
                    await asyncio.sleep(_AGAIN_SECONDS)
                    more = await self._waiting(session)
        except BrokerUnavailable as error:
            session.end(str(error))
        except Exception as error:
            # Ended here it would leave the suspects without anybody on a connection that looks well.
            logger.exception("unexpected error while a suspect was processed")
            session.end(f"unexpected {type(error).__name__}")

    async def _waiting(self, session: Session) -> bool:
        if self._pipeline.held or not self._allowed():
            return False
        try:
            return (await session.watch.depth(self._names.suspect)).messages > 0
        except Unseen:
            return True  # it may not be looked at, or is not there: taking one says which

    async def _turn(self, session: Session) -> bool:
        """Return True to continue."""
        if not await session.suspect_settled():
            return False  # its copy is one that the broker does not take for now
        async with self.others_wait():
            ends = time.monotonic() + _TURN_SECONDS
            # What was settled has to have left this process before anything else may kill it; a look makes sure.
            while await self._waiting(session) and time.monotonic() < ends:
                if await _in_hand(session, self._pipeline.accept) is None:
                    return False
                await self.writes_done(_TRIAL_SECONDS)
                if not await session.suspect_settled():
                    return False
            return not self._pipeline.held

    @asynccontextmanager
    async def others_wait(self) -> AsyncGenerator[None]:
        """Wait until no write is under way, and keep the writes that arrive until the end of the block.

        A write that takes longer, such as one that waits in its place for its next attempt, is not waited for.
        """
        pipeline = self._pipeline
        pipeline.waiting = []
        try:
            await self._still()
            yield
        finally:
            waiting, pipeline.waiting = pipeline.waiting, None
            for delivery in waiting:
                if delivery.link.alive:
                    pipeline.accept(delivery)

    async def _still(self) -> None:
        done = asyncio.create_task(self.writes_done(_STILL_SECONDS))
        outage = asyncio.create_task(self._pipeline.hold.began.wait())
        try:
            await asyncio.wait({done, outage}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await stopped(done, outage)

    async def writes_done(self, seconds: float) -> None:
        """Wait until every write is settled, at most `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._pipeline.writing:
                    self._pipeline.stirred.clear()
                    await self._pipeline.stirred.wait()


async def _in_hand(session: Session, accept: Callable[[Delivery], None]) -> Delivery | None:
    """A suspect that is taken charge of, even if this is cancelled: then it may be on its way."""
    getting = asyncio.create_task(session.suspect())
    try:
        delivery = await asyncio.shield(getting)
    except asyncio.CancelledError:
        await asyncio.wait({getting})
        if not getting.cancelled() and getting.exception() is None and (late := getting.result()) is not None:
            accept(late)
        raise
    if delivery is not None:
        accept(delivery)
    return delivery
