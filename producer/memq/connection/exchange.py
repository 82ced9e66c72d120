"""The exchange that a tenant's producer publishes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memq_amqp import Lost, MessageRefused, Refused, Returned
from memq_amqp.refusals import Kind

from memq.errors import ConfigurationError, TopologyMissing
from memq_schemas.properties import Properties

if TYPE_CHECKING:
    from memq_amqp import Connection

    from memq_schemas.tenants import TenantNames


async def writable_exchange(connection: Connection, names: TenantNames) -> str:
    """Return the tenant's exchange; for a user who may only read, that of requests.

    Raises TopologyMissing, ConfigurationError and Lost.
    """
    address = connection.address
    channel = await connection.channel()
    try:
        await channel.declare_exchange(names.commands, passive=True)
    except Lost as error:
        if error.kind is Kind.NOT_FOUND:
            raise TopologyMissing(
                f"RabbitMQ at {address} has no exchange {names.commands}: run `memq-worker tenants apply`, and check "
                "the tenant, the virtual host and the prefix"
            ) from error
        # Newer brokers ask for a permission here that a tenant does not have.
        if error.kind is not Kind.PERMISSION:
            raise
    finally:
        await channel.close()
    for exchange in (names.commands, names.read):
        if await _may_write(connection, exchange):
            return exchange
    raise ConfigurationError(
        f"RabbitMQ at {address}: the user may write neither to exchange {names.commands} nor to {names.read}; "
        f"expected a user of tenant {names.tenant!r}"
    )


async def _may_write(connection: Connection, exchange: str) -> bool:
    channel = await connection.channel()
    try:
        # The broker checks the permission first, and refuses this expiration before it routes the message.
        await channel.publisher().publish(exchange, "", b"", Properties(expiration="none"))
    except (Refused, Returned, MessageRefused):
        return True
    except Lost as error:
        if error.kind is Kind.LOST:
            raise
        return error.kind is not Kind.PERMISSION
    finally:
        await channel.close()
    return True
