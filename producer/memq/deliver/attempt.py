"""Attempts at one message: their state, and the errors that a refusal means to the caller."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from memq_amqp.backoff import jittered
from memq_amqp.refusals import Kind

from memq.errors import ConfigurationError, MessageTooLarge, TopologyMissing, Unroutable

if TYPE_CHECKING:
    from memq_amqp.refusals import Refusal

    from memq.connection.publisher import ConfirmClock
    from memq.connection.session import Session


NACK_PAUSE_SECONDS = 0.05
NACK_PAUSE_LIMIT_SECONDS = 1.0


class Attempt:
    """State of the attempts at one message."""

    waiting: tuple[Session, ConfirmClock, float] | None = None
    confirmed = False
    uncertain = False
    _reason: str | None = None
    _nacked: float | None = None
    _nacks = 0

    def lost(self, reason: str) -> None:
        """Nothing more is heard of it; it may have arrived."""
        self._reason = reason
        self.waiting = None
        self.uncertain = True
        self.confirmed = False

    def refused(self, reason: str) -> None:
        """It still waits for a confirm, which another session may give."""
        self._reason = reason
        self.confirmed = False

    def nacked(self) -> float:
        """Return the loop time of the first nack of the message, which is now unless there was one before."""
        if self._nacked is None:
            self._nacked = asyncio.get_running_loop().time()
        return self._nacked

    def pause(self) -> float:
        """Return the seconds to wait after one more nack."""
        self._nacks += 1
        return jittered(self._nacks, NACK_PAUSE_SECONDS, NACK_PAUSE_LIMIT_SECONDS)

    def hindrance(self) -> str:
        if self.confirmed:
            return "the message is queued but no worker has answered; is one running?"
        if self._reason is not None:
            return self._reason
        if self.waiting is not None:
            return "the broker is silent; is it in a memory or disk alarm?"
        return "the broker has not made the reply queue yet"


def _of_tenant(exchange: str) -> bool:
    return ".t." in exchange  # as memq_schemas.tenants.TenantNames names them


def nacked(exchange: str, reason: str) -> str:
    """The reason for a nack, which says none. A tenant's lane may be full; a retry clears up either cause in time."""
    if not _of_tenant(exchange):
        return reason
    return f"{reason}: the tenant's lane is full (limit backlog_bytes), or its queue elects a leader"


def unroutable(exchange: str, routing_key: str) -> Unroutable:
    """The error for a message that the broker had no queue for."""
    if not _of_tenant(exchange):
        remedy = "declare memq's topology with `memq-worker declare`, or start a worker"
    elif exchange.endswith(".read"):
        remedy = "the user may only read"
    else:
        remedy = "declare the tenant's queues with `memq-worker tenants apply`"
    return Unroutable(f"no queue is bound for {routing_key}: {remedy}")


def refused(broker: str, exchange: str, refusal: Refusal) -> ConfigurationError:
    """The error for a refusal that lasts until somebody changes a setting of the broker."""
    if refusal.kind is Kind.PERMISSION:
        return ConfigurationError(f"{broker}: the user needs the write permission for exchange {exchange}: {refusal}")
    if refusal.kind is Kind.NOT_FOUND:
        remedy = "run `memq-worker declare`, or start a worker, and check the prefix"
        return TopologyMissing(f"{broker}: {refusal}: {remedy}")
    return ConfigurationError(f"{broker}: {refusal}")


def too_large(routing_key: str, refusal: Refusal) -> MessageTooLarge:
    """The error for a message above a limit that the broker has named."""
    error = MessageTooLarge(
        f"{routing_key}: {refusal}; send fewer points per message, or raise max_message_size in rabbitmq.conf"
    )
    error.limit = refusal.limit
    return error
