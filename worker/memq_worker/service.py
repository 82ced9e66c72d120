import asyncio
import logging
import os
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from functools import partial

from memq_amqp import stopped
from memq_amqp.backoff import CONNECTING
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from memq_worker import access
from memq_worker.amqp.session import Session, open_session
from memq_worker.errors import BrokerUnavailable, ConfigurationError
from memq_worker.observe.endpoint import served
from memq_worker.observe.exposition import Exposition
from memq_worker.observe.health import Health
from memq_worker.observe.heartbeat import heartbeat
from memq_worker.observe.member import Member
from memq_worker.observe.metrics import Metrics
from memq_worker.observe.slot import Foreign, Slot
from memq_worker.observe.store import metered
from memq_worker.observe.tracing import traced
from memq_worker.options import pipeline_options, session_options, turns
from memq_worker.outages import Outages
from memq_worker.pipeline.intake import Pipeline
from memq_worker.pipeline.limits.allowances import Allowances
from memq_worker.pipeline.tenants import Tenants
from memq_worker.probes import Probes
from memq_worker.qdrant.client import QdrantStore, open_store
from memq_worker.settings import Settings
from memq_worker.stop import Stop, on_signals
from memq_worker.store_identity import StoreGuard, StoreMismatch
from memq_worker.suspects import Suspects
from memq_worker.tenancy import Tenancy
from memq_worker.tenants.force import enter, own_queues
from memq_worker.tenants.register import Register

logger = logging.getLogger(__name__)

_SHORT_LIFE_SECONDS = 1.0
_PROBE_SECONDS = 5.0
_HARD_STOP_SECONDS = 2.0


class Service:
    """One worker process: connects, consumes, reconnects, drains. The one place that sees every part."""

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        metrics: Metrics,
        health: Health,
        probes: Probes,
        stop: Stop,
        guard: StoreGuard,
        tenancy: Tenancy,
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._tenancy = tenancy
        self._pipeline = pipeline
        self._metrics = metrics
        self._health = health
        self._probes = probes
        self._stop = stop
        self._brokers = access.brokers(settings)
        self._outages = Outages(pipeline, settings.consumer_timeout_seconds / 2)
        self._suspects = Suspects(pipeline, settings.topology.names, lambda: tenancy.takes_suspects)
        self._sessions = 0
        self._session: Session | None = None

    def sample(self) -> None:
        """Says how it is, in gauges and for the endpoint."""
        session = self._session
        self._metrics.unsettled(session.unsettled_by_role if session else {})
        self._metrics.prefetch(session.prefetch_by_role if session else {})
        self._health.is_(
            consuming=session is not None and session.consuming,
            held=self._pipeline.held,
            refused=session.refused if session else "",
            draining=self._stop.soft.is_set(),
            down=", ".join(sorted(session.down)) if session else "",
            tenants=self._tenancy.outdated,
        )

    async def run(self) -> None:
        """Run until stopped. Raises ConfigurationError if the first connection cannot succeed."""
        while not self._stop.soft.is_set():
            async with AsyncExitStack() as stack:
                session = await self._open(stack)
                if session is None:
                    return
                began = time.monotonic()
                await self._live(session)
            await self._pipeline.forget_dead()
            if time.monotonic() - began < _SHORT_LIFE_SECONDS:
                # Connecting works and staying connected does not: without a pause that would be a busy loop.
                await self._pause(_SHORT_LIFE_SECONDS)

    async def _open(self, stack: AsyncExitStack) -> Session | None:
        """A session as soon as one can be had; None when stopped before."""
        retrying = AsyncRetrying(
            retry=retry_if_exception(self._may_pass),
            wait=CONNECTING,
            stop=lambda _: self._stop.soft.is_set(),
            sleep=self._pause,
            before_sleep=self._unavailable,
            reraise=True,
        )
        options = replace(
            session_options(self._settings), admit=self._guard.check, account=self._pipeline.tenants.account
        )
        try:
            async for attempt in retrying:
                with attempt:
                    return await stack.enter_async_context(open_session(self._brokers, options, self._pipeline.accept))
        except BrokerUnavailable:
            return None
        return None

    def _unavailable(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        logger.warning("RabbitMQ unavailable", extra={"reason": str(error), "failures": state.attempt_number})
        self._health.failed("rabbitmq", str(error))

    def _may_pass(self, error: BaseException) -> bool:
        if isinstance(error, StoreMismatch) and not self._guard.admitted:
            return False
        # After a first success somebody may be changing the configuration right now; before it, nobody will.
        return isinstance(error, BrokerUnavailable) or (isinstance(error, ConfigurationError) and self._sessions > 0)

    async def _live(self, session: Session) -> None:
        if self._sessions:
            self._metrics.reconnected()
        self._sessions += 1
        self._session = session
        self.sample()
        logger.info(
            "worker ready",
            extra={"brokers": self._brokers.places, "prefix": self._settings.prefix, "sessions": self._sessions},
        )
        stopping = asyncio.create_task(self._stop.soft.wait())
        watches = {
            asyncio.create_task(self._probes.broker(session.watch)),
            asyncio.create_task(self._outages.watch(session)),
            asyncio.create_task(self._suspects.watch(session)),
            asyncio.create_task(self._guard.watch(session)),
            asyncio.create_task(self._tenancy.watch(session)),
        }
        try:
            await asyncio.wait({session.ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.sample()
            await stopped(stopping, *watches)
        if self._stop.soft.is_set():
            await self._drain(session)
        else:
            logger.warning("RabbitMQ connection lost", extra={"reason": session.ended.result()})
            self._health.failed("rabbitmq", session.ended.result())

    async def _drain(self, session: Session) -> None:
        logger.info("worker draining", extra={"unsettled": session.unsettled})
        hard = asyncio.create_task(self._stop.hard.wait())
        drained = asyncio.create_task(self._drained(session))
        _, late = await asyncio.wait(
            {hard, drained}, timeout=self._settings.drain_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        await stopped(hard)
        if drained in late:
            await stopped(drained)
            await self._pipeline.cancel()
            logger.warning("worker stopped before drained", extra={"unsettled": session.unsettled})
        else:
            drained.result()
            logger.info("worker drained", extra={"unsettled": session.unsettled})

    async def _drained(self, session: Session) -> None:
        try:
            # Consumers first: what arrives while draining would have to be handed back again.
            await session.stop_consuming()
            await self._pipeline.drain()
            await session.flush()
        except BrokerUnavailable as error:
            logger.warning("RabbitMQ connection lost while draining", extra={"reason": str(error)})

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.soft.wait()
        except TimeoutError:
            return


async def serve(settings: Settings) -> None:
    """Runs one worker until SIGTERM or SIGINT. Needs `qdrant_url`. Raises ConfigurationError."""
    if settings.qdrant_url is None:
        raise ConfigurationError("MEMQ_QDRANT_URL is not set")
    register = Register(settings.tenants_file)
    metrics = Metrics(_slot(settings), asyncio.get_running_loop().call_later)
    metrics.prefetch({role: own.count for role, own in session_options(settings).prefetch_by_role(None).items()})
    member = Member(settings.slot, metrics.slot)
    member.started(os.getpid())
    with ExitStack() as stack:
        exposition = Exposition([member], settings.topology_labels)
        stack.enter_context(served([member], exposition, settings.metrics_host, settings.metrics_port))
        opening = open_store(
            settings.qdrant_url,
            access.api_key(settings),
            settings.store_timeout_seconds,
            filter_timeout_seconds=settings.filter_timeout_seconds,
            guarded=True,
            max_reply_bytes=settings.max_reply_bytes,
            security=access.security(settings),
        )
        async with opening as store:
            options = pipeline_options(settings)
            seen, tracing = traced(metered(store, metrics), settings.qdrant_url, options.names)
            tenants = Tenants(allowances=Allowances(reached=metrics.limited), turns=turns(settings))
            pipeline = Pipeline(seen, metrics, options, tracing, tenants)
            stop = stack.enter_context(on_signals(Stop()))
            health = Health(metrics)
            names, first = settings.topology.names, settings.slot == 0
            probes = Probes(health, metrics, names, lambda: own_queues(register.current, settings.prefix), queues=first)
            entering = partial(enter, seen, tenants, timeout=settings.store_timeout_seconds)
            tenancy = Tenancy(register, pipeline, options.names, settings.order, entering, settings.bulk_weight)
            guard = StoreGuard(store, settings)
            worker = Service(settings, pipeline, metrics, health, probes, stop, guard, tenancy)
            service = asyncio.create_task(worker.run())
            watches = [
                asyncio.create_task(stop.hard.wait()),
                asyncio.create_task(_orphaned(settings.parent_pid, stop)),
                asyncio.create_task(heartbeat(metrics, worker.sample)),
                asyncio.create_task(probes.store(lambda: _answers(store))),
            ]
            try:
                await asyncio.wait({service, watches[0]}, return_when=asyncio.FIRST_COMPLETED)
                if not service.done():
                    await asyncio.wait({service}, timeout=_HARD_STOP_SECONDS)
                    await stopped(service)
                if not service.cancelled():
                    service.result()
            finally:
                await stopped(service, *watches)
                await pipeline.cancel()
                metrics.fold()


async def _answers(store: QdrantStore) -> None:
    """Ask the store for its health and, since that may be answered by a store that hangs, for its collections."""
    await store.version()
    await store.list_collections(_PROBE_SECONDS)


def _slot(settings: Settings) -> Slot:
    if settings.slot_descriptor is None:
        return Slot.private()
    try:
        return Slot.handed(settings.slot_descriptor)
    except (Foreign, OSError):
        # As after an upgrade beneath a running pool.
        logger.warning("pool belongs to another release, metrics of this worker hidden; restart the pool")
        return Slot.private()


async def _orphaned(parent_pid: int | None, stop: Stop) -> None:
    """Stops a pool's worker whose pool was killed: nobody would restart it, or stop it, any more."""
    if parent_pid is None:
        return
    while os.getppid() == parent_pid:  # noqa: ASYNC110  (there is no event to wait for)
        await asyncio.sleep(1)
    logger.warning("parent process exited, stopping")
    stop()
