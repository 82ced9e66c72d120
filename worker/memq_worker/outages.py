import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from memq_amqp import stopped

from memq_worker.amqp.session import Session
from memq_worker.errors import BrokerUnavailable, Outage, StoreOutage, WorkerError
from memq_worker.pipeline.hold import QUESTION, Abandoned, HandedBack
from memq_worker.pipeline.intake import Pipeline

logger = logging.getLogger(__name__)

_BLIP_SECONDS = 1.0  # an outage shorter than this is waited out with everything as it is


class Outages:
    """Behaviour of a session during a hold: release suspects at once, and writes before the consumer timeout.

    The broker closes a channel on which a message is unsettled for longer than its consumer timeout, and counts that as
    a failed delivery of every message on it. One hand-back counts as much at most, once an outage.
    """

    def __init__(self, pipeline: Pipeline, hand_back_seconds: float) -> None:
        self._pipeline = pipeline
        self._hold = pipeline.hold
        self._hand_back_seconds = hand_back_seconds

    async def watch(self, session: Session) -> None:
        """Run until the session ends."""
        try:
            while True:
                await self._hold.began.wait()
                await self._wait_out(session)
        except BrokerUnavailable as error:
            # A channel that does not answer is no channel: a new one will consume what this one may not.
            session.end(str(error))
        except Exception as error:
            # Ended here it would leave queues without a consumer on a connection that looks well.
            logger.exception("unexpected error while the store was held")
            session.end(f"unexpected {type(error).__name__}")
        finally:
            await self.hand_back("none")

    async def _wait_out(self, session: Session) -> None:
        back = asyncio.create_task(self.store_back(wanted=lambda: not session.ended.done()))
        try:
            await asyncio.wait({back}, timeout=min(_BLIP_SECONDS, self._hand_back_seconds))
            if not back.done():
                # The broker gives up one that comes back too often, a lost connection included.
                await self.hand_back("suspects")
                await asyncio.wait({back}, timeout=self._hand_back_seconds)
            if not back.done():
                logger.warning("writes released", extra={"held_seconds": self._hand_back_seconds})
                await session.stop_writes()
                await self.hand_back("all")
                await session.flush()
            await back
        finally:
            await stopped(back)
        await self.hand_back("none")
        await session.resume_consuming()

    async def hand_back(self, which: HandedBack) -> None:
        """Release held writes, all or the suspects alone, and those that fail later, until told "none".

        Stop their consumers before, or the broker delivers them again at once.
        """
        pipeline = self._pipeline
        self._hold.hand_back(which)
        pipeline.look_again()
        if which == "all":
            await pipeline.release(lambda _: True)
            for writer in list(pipeline.writers.values()):
                await writer.drained()

    async def store_back(self, wanted: Callable[[], bool]) -> None:
        """Wait until the store accepts a write that changes nothing, or until unwanted."""
        pipeline = self._pipeline
        collection = next(iter(pipeline.writers), None)

        async def ask() -> None:
            try:
                if collection is None:
                    await pipeline.parts.store.list_collections(pipeline.options.request_timeout_seconds)
                else:
                    await pipeline.parts.holds.diagnosis.ask(collection)
            except Outage as error:
                raise StoreOutage.of(error) from error

        # A store that refuses the question is back as well. A held write is the better question, so it goes first.
        with suppress(Abandoned, WorkerError):
            await self._hold.through(ask, wanted, size=QUESTION)
        if pipeline.options.retries.in_place:
            for writer in list(pipeline.writers.values()):
                await writer.held.back(wanted)
