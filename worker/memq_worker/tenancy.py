import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from memq_schemas import Names
from memq_schemas.tenants import TenantNames
from memq_schemas.topology import Order
from memq_worker.amqp.session import Session
from memq_worker.amqp.watch import Unseen
from memq_worker.errors import BrokerUnavailable, ConfigurationError, WorkerError
from memq_worker.pipeline.intake import Pipeline
from memq_worker.tenants.applied_file import AppliedFile
from memq_worker.tenants.file import TenantsFile
from memq_worker.tenants.force import queues_of
from memq_worker.tenants.register import Register

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0  # between looks at the file
_GENERATION_SECONDS = 5.0  # between looks at the generation that the broker has
_TRIES, _AGAIN_SECONDS = 5, 0.05  # the message is away while another worker looks at it


class _Unread(Exception):
    """The queue of the generation exists, and its message was not read: it is empty, forbidden, or its node is down."""


def _unknown(queue: str) -> str:
    return (
        f"the generation that the broker has is unknown, since queue {queue!r} is empty or cannot be read: "
        "check the worker's read permission, or run memq-worker tenants apply"
    )


class Tenancy:
    """Takes tenants' messages while the worker's tenants file is not older than the one applied to the broker."""

    def __init__(
        self,
        register: Register,
        pipeline: Pipeline,
        names: Names,
        order: Order,
        enter: Callable[[TenantsFile], Awaitable[None]],
        bulk_weight: float = 1.0,
    ) -> None:
        """enter: called with a file before messages of its tenants are taken. Raises WorkerError where it may later."""
        self.register = register
        self._pipeline = pipeline
        self._names = names
        self._order: Order = order
        self._enter = enter
        self._bulk_weight = bulk_weight
        self._entered: TenantsFile | None = None
        self._looked = False
        self._applied: AppliedFile | None = None
        self._missing: list[str] = []
        self.outdated = ""
        """Why no tenant's messages are taken, which makes the worker not ready; empty otherwise."""

    @property
    def takes_suspects(self) -> bool:
        """Return True if a message in quarantine may be taken, which may be a tenant's."""
        return self._looked and not self.outdated and self._entered is self.register.current

    async def watch(self, session: Session) -> None:
        """Run until the session ends."""
        looked = -_GENERATION_SECONDS
        try:
            while True:
                changed = self.register.look()
                if changed or time.monotonic() - looked >= _GENERATION_SECONDS:
                    await self._look(session)
                    if self._looked:
                        looked = time.monotonic()
                if self.register.current is None and self._looked:
                    return  # without a file nothing changes but by a new session
                if self.register.current is not None and await self._in_force(self.register.current):
                    await self._serve(session, self.register.current)
                await asyncio.sleep(_LOOK_SECONDS)
        except (BrokerUnavailable, ConfigurationError) as error:
            session.end(str(error))
        except Exception as error:
            logger.exception("unexpected error in the check of the tenants")
            session.end(f"unexpected {type(error).__name__}")

    async def _in_force(self, current: TenantsFile) -> bool:
        """Return True once everything that a file asks for is there."""
        if self._entered is current:
            return True
        try:
            await self._enter(current)
        except WorkerError as error:
            logger.warning("tenants file not in force yet", extra={"reason": error.message})
            return False
        weights: dict[str, float] = {}
        for name, tenant in current.tenants.items():
            live, bulk = TenantNames(self._names.prefix, name).lanes
            weights |= {live: tenant.weight, bulk: tenant.weight * self._bulk_weight}
        self._pipeline.round.weigh(weights)
        self._entered = current
        return True

    async def _look(self, session: Session) -> None:
        """Read the applied generation, and judge the worker's file by it."""
        with suppress(_Unread):  # what was read before holds
            self._applied, self._looked = await self._read(session) or self._applied, True
        before, applied = self.outdated, self._applied
        if not self._looked and self.register.current is not None:
            self.outdated = _unknown(self._names.tenants)
        else:
            self.outdated = "" if applied is None else applied.outdates(self.register.current)
        await self._pipeline.discard(frozenset[str]() if applied is None else frozenset(applied.removed))
        if self.outdated and self.outdated != before:
            logger.error("tenants' messages paused", extra={"reason": self.outdated})
        elif before and not self.outdated:
            logger.info("tenants' messages resumed")

    async def _read(self, session: Session) -> AppliedFile | None:
        """Return the applied file; None where none was. Raises _Unread, also if the message is away at every look."""
        for _ in range(_TRIES):
            try:
                body = await session.watch.body(self._names.tenants)
            except Unseen as error:
                if error.missing:
                    return None
                raise _Unread from error
            if body is not None:
                return AppliedFile.read(body, self._names.tenants)
            await asyncio.sleep(_AGAIN_SECONDS)
        raise _Unread

    async def _serve(self, session: Session, current: TenantsFile) -> None:
        missing = await session.serve_tenants({} if self.outdated else self._lanes(current))
        if self.outdated:
            await self._pipeline.release_tenants()
            await session.flush()
        if self._pipeline.tenants.allowances:
            # Every worker consumes this queue, also while its lanes rest; one that is about to is counted as well.
            consumers = (await session.watch.depth(self._names.tenants_query)).consumers
            self._pipeline.tenants.allowances.share(max(1, consumers))
        if missing != self._missing:
            self._missing = missing
            if missing:
                logger.warning("queues of tenants missing, run memq-worker tenants apply", extra={"queues": missing})

    def _lanes(self, current: TenantsFile) -> dict[str, str]:
        """Lanes by queue."""
        draining = frozenset[str]() if self._applied is None else self._applied.draining.keys()
        return queues_of(current, self._names, self._order, draining)
