"""Refusals of the broker as errors that name the permission or the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memq_amqp.refusals import Kind

from memq.errors import ConfigurationError, MessageTooLarge, TopologyMissing, Unroutable

if TYPE_CHECKING:
    from memq_amqp.refusals import Refusal

    from memq.connection.message import Message


class SizeLimit:
    """The broker's limit on a message, once it has named it: publishing above it costs the connection."""

    def __init__(self) -> None:
        self._bytes: int | None = None

    def check(self, routing_key: str, message: Message) -> None:
        """Raise MessageTooLarge for a body above the limit, if it is known."""
        size, limit = len(message.body), self._bytes
        if limit is not None and size > limit:
            raise _too_large(f"{routing_key}: {size} bytes, the broker takes {limit}", limit)

    def named(self, routing_key: str, refusal: Refusal) -> MessageTooLarge:
        """Take note of the limit that the broker has named, and return the error for the message above it."""
        if refusal.kind is Kind.TOO_LARGE:
            self._bytes = refusal.limit
        return _too_large(f"{routing_key}: {refusal}", refusal.limit)


def _too_large(text: str, limit: int | None) -> MessageTooLarge:
    error = MessageTooLarge(f"{text}; send fewer points per message, or raise max_message_size in rabbitmq.conf")
    error.limit = limit
    return error


def nacked(exchange: str, reason: str) -> str:
    """The reason for a nack, which says none. A tenant's lane may be full; a retry clears up either cause in time."""
    if ".t." not in exchange:
        return reason
    return f"{reason}: the tenant's lane is full (limit backlog_bytes), or its queue elects a leader"


def unroutable(exchange: str, routing_key: str) -> Unroutable:
    """The error for a message that the broker had no queue for."""
    if ".t." not in exchange:
        told = "declare memq's topology with `memq-worker declare`, or start a worker"
    elif exchange.endswith(".read"):
        told = "the user may only read"
    else:
        told = "declare the tenant's queues with `memq-worker tenants apply`"
    return Unroutable(f"no queue takes {routing_key}: {told}")


def refused(broker: str, exchange: str, refusal: Refusal) -> ConfigurationError:
    """The error for a refusal that lasts until somebody changes a setting of the broker."""
    if refusal.kind is Kind.PERMISSION:
        return ConfigurationError(f"{broker}: the user needs the write permission for exchange {exchange}: {refusal}")
    if refusal.kind is Kind.NOT_FOUND:
        told = "run `memq-worker declare`, or start a worker, and check the prefix"
        return TopologyMissing(f"{broker}: {refusal}: {told}")
    return ConfigurationError(f"{broker}: {refusal}")
