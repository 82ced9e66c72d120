"""The exchange that a tenant's producer publishes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiormq.exceptions
from aiormq.exceptions import AMQPError
from memq_amqp.refusals import Kind, refusal_of
from pamqp.commands import Basic

from memq.errors import ConfigurationError, TopologyMissing

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection

    from memq.connection.address import Address
    from memq_schemas.tenants import TenantNames


async def entrance(connection: AbstractConnection, names: TenantNames, address: Address) -> str:
    """Return the tenant's exchange; for a user who may only read, that of requests.

    Raises TopologyMissing and ConfigurationError.
    """
    channel = await connection.channel()
    try:
        await channel.declare_exchange(names.commands, passive=True)
    except aiormq.exceptions.ChannelNotFoundEntity as error:
        raise TopologyMissing(
            f"RabbitMQ at {address} has no exchange {names.commands}: run `memq-worker tenants apply`, and check the "
            "tenant, the virtual host and the prefix"
        ) from error
    except aiormq.exceptions.ChannelAccessRefused:
        # Newer brokers ask for a permission here that a tenant does not have.
        pass
    finally:
        await channel.close()
    for exchange in (names.commands, names.read):
        if await _may_write(connection, exchange):
            return exchange
    raise ConfigurationError(
        f"RabbitMQ at {address}: the user may write neither to exchange {names.commands} nor to {names.read}; "
        f"expected a user of tenant {names.tenant!r}"
    )


async def _may_write(connection: AbstractConnection, exchange: str) -> bool:
    channel = await connection.channel(on_return_raises=True)
    try:
        # The broker checks the permission first, and refuses this expiration before it routes the message.
        underlay = await channel.get_underlay_channel()
        await underlay.basic_publish(b"", exchange=exchange, properties=Basic.Properties(expiration="none"))
    except AMQPError as error:
        refusal = refusal_of(error)
        return refusal is None or refusal.kind is not Kind.PERMISSION
    finally:
        await channel.close()
    return True
