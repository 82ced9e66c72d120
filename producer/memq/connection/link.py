"""Keeps a connection: opens the next one when one is lost, and tells those who wait."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memq_amqp import Lost, stopped
from memq_amqp.backoff import CONNECTING, jittered
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_never

from memq.connection.session import Session, open_session
from memq.errors import BrokerUnavailable, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from memq_amqp import Brokers

    from memq.connection.publisher import ConfirmClock
    from memq.connection.replies import Pending
    from memq_schemas import Names
    from memq_schemas.tenants import TenantNames

log = logging.getLogger("memq")

# A connection that lasted less may end again for the same reason.
STABLE_SECONDS = 5.0
SHORT_PAUSE_SECONDS = 0.4
SHORT_PAUSE_LIMIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """connected: whether there is a connection now.   broker: host, port and vhost.   reason: why there is none."""

    connected: bool
    broker: str
    reason: str | None = None


class Link:
    def __init__(
        self,
        brokers: Brokers,
        names: Names | TenantNames,
        pending: Pending,
        *,
        listener: Callable[[ConnectionChange], None] | None,
    ) -> None:
        self._brokers = brokers
        self._names = names
        self._pending = pending
        self._listener = listener
        self._ready: asyncio.Future[Session] = asyncio.get_running_loop().create_future()
        self.current: Session | None = None  # the connection that there is now
        self._reason = "not connected yet"
        self._task: asyncio.Task[None] | None = None
        self._replacing: asyncio.Task[None] | None = None
        self._replacement: Session | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        return self.current is not None

    @property
    def reason(self) -> str:
        """Why there is no connection."""
        return self._reason

    async def open(self, timeout: float, *, required: bool = True) -> None:
        """The first connection. Raises ConfigurationError at once and BrokerUnavailable after `timeout` seconds.

        Unless it is required: then it comes when it can.
        """
        session = None
        try:
            async with asyncio.timeout(timeout):
                session = await self._connect(Lost)
        except TimeoutError:
            if required:
                raise BrokerUnavailable(f"no connection to RabbitMQ within {timeout:g} s: {self._reason}") from None
        else:
            self._opened(session)
        self._task = asyncio.create_task(self._keep(session), name="memq-link")

    def _opened(self, session: Session) -> None:
        self.current = session
        self._ready.set_result(session)

    async def session(self) -> Session:
        """The connection, as soon as there is one: callers bring the timeout."""
        return await asyncio.shield(self._ready)

    def drop(self, session: Session, reason: str) -> None:
        """Said by whoever notices first that it is gone, so that nobody is handed it again."""
        if self.current is session:
            self.current = None
            self._ready = asyncio.get_running_loop().create_future()
            self._reason = reason
            self._pending.lost()
            self._leave(session)
        session.lose(reason)

    def replace_silent(self, session: Session, clock: ConfirmClock, reason: str) -> None:
        """Said by whoever has waited in vain: another broker may do what this one does not.

        The session is given up when there is another one to use, and not while the broker says that it is blocked.
        """
        if session is self.current and (self._replacing is None or self._replacing.done()):
            replacing = self._replace(session, clock, reason)
            # With nothing of the caller's context, which the new connection would keep for as long as it lives.
            self._replacing = asyncio.create_task(replacing, name="memq-link-replace", context=contextvars.Context())

    async def _replace(self, session: Session, clock: ConfirmClock, reason: str) -> None:
        blocked = await session.blocked()
        # From now on anew: one try for each time that it has been silent for too long.
        clock.confirmed()
        if blocked:
            return
        since = clock.last_confirm
        try:
            other = await self._attempt()
        except (Lost, ConfigurationError) as error:
            log.debug("RabbitMQ silent, no other connection available", extra={"reason": str(error)})
            return
        if session is not self.current or clock.last_confirm != since:
            self._leave(other)
            return
        self._replacement = other
        self.drop(session, reason)

    def _leave(self, session: Session) -> None:
        # A task of its own, which close() awaits: those that replace sessions are cancelled, and would leave it open.
        leaving = asyncio.create_task(session.close(), name="memq-link-leave", context=contextvars.Context())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        await stopped(self._replacing, self._task)
        if self._replacement is not None:
            await self._replacement.close()
        if self._leaving:
            await asyncio.wait(self._leaving)
        closed = BrokerUnavailable("the producer is closed")
        self.current = None
        ready, self._ready = self._ready, asyncio.get_running_loop().create_future()
        if ready.done():
            await ready.result().close()
        else:
            ready.set_exception(closed)
            ready.exception()
        self._ready.set_exception(closed)
        self._ready.exception()
        self._pending.lost()

    async def _keep(self, session: Session | None) -> None:
        loop, short = asyncio.get_running_loop(), 0
        while True:
            if session is not None:
                started = loop.time()
                await self._lost(session)
                # A connection that the broker ends as soon as it is used again is no success.
                short = short + 1 if loop.time() - started < STABLE_SECONDS else 0
                if short > 1 and self._replacement is None:
                    await asyncio.sleep(jittered(short - 1, SHORT_PAUSE_SECONDS, SHORT_PAUSE_LIMIT_SECONDS))
            # It worked before, so even a refused password may be a broker that is still starting.
            session = self._replacement or await self._connect((Lost, ConfigurationError))
            self._replacement = None
            broker = str(session.address)
            self._opened(session)
            log.warning("reconnected to RabbitMQ", extra={"broker": broker})
            self._tell(ConnectionChange(True, broker))

    async def _lost(self, session: Session) -> None:
        reason = await session.lost
        self.drop(session, reason)
        broker = str(session.address)
        log.warning("connection to RabbitMQ lost, reconnecting", extra={"broker": broker, "reason": reason})
        self._tell(ConnectionChange(False, broker, reason))
        if self._replacement is None and self._leaving:
            await asyncio.wait(self._leaving)

    async def _connect(self, transient: type[Exception] | tuple[type[Exception], ...]) -> Session:
        return await AsyncRetrying(
            wait=CONNECTING, stop=stop_never, retry=retry_if_exception_type(transient), before_sleep=self._failed
        )(self._attempt)

    async def _attempt(self) -> Session:
        return await open_session(self._brokers, self._names, self._pending)

    def _failed(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._reason = str(error)
        if state.attempt_number == 1 and self._task is None:
            log.warning("RabbitMQ unreachable, retrying", extra={"reason": self._reason})
            self._tell(ConnectionChange(False, str(self._brokers), self._reason))
        else:
            log.debug("RabbitMQ unreachable", extra={"reason": self._reason})

    def _tell(self, change: ConnectionChange) -> None:
        if self._listener is not None:
            # Through the loop, so that what a caller's function raises does not end ours.
            asyncio.get_running_loop().call_soon(self._listener, change)
