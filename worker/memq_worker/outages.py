import asyncio
import logging

from memq_amqp import stopped

from memq_worker.amqp.session import Session
from memq_worker.errors import BrokerUnavailable
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
        self._hand_back_seconds = hand_back_seconds

    async def watch(self, session: Session) -> None:
        """Run until the session ends."""
        try:
            while True:
                await self._pipeline.outage()
                await self._wait_out(session)
        except BrokerUnavailable as error:
            # A channel that does not answer is no channel: a new one will consume what this one may not.
            session.end(str(error))
        except Exception as error:
            # Ended here it would leave queues without a consumer on a connection that looks well.
            logger.exception("unexpected error while the store was held")
            session.end(f"unexpected {type(error).__name__}")
        finally:
            await self._pipeline.hand_back("none")

    async def _wait_out(self, session: Session) -> None:
        back = asyncio.create_task(self._pipeline.store_back(wanted=lambda: not session.ended.done()))
        try:
            await asyncio.wait({back}, timeout=min(_BLIP_SECONDS, self._hand_back_seconds))
            if not back.done():
                # The broker gives up one that comes back too often, a lost connection included.
                await self._pipeline.hand_back("suspects")
                await asyncio.wait({back}, timeout=self._hand_back_seconds)
            if not back.done():
                logger.warning("writes released", extra={"held_seconds": self._hand_back_seconds})
                await session.stop_writes()
                await self._pipeline.hand_back("all")
                await session.flush()
            await back
        finally:
            await stopped(back)
        await self._pipeline.hand_back("none")
        await session.resume_consuming()
