"""Dead letters as a worker or the broker leaves them, and a look at what is in the queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aio_pika
import orjson

from memq_schemas import Names, headers
from tests.support.broker import take

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel

    from tests.support.broker import Address


def failed(code: str = "wrong_dimension", *, ago: float = 60, attempts: int = 1, **more: Any) -> dict[str, Any]:
    """The headers of a dead letter that failed `ago` seconds before now."""
    when = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="milliseconds")
    return {
        headers.RETRY_COUNT: attempts - 1,
        headers.ERROR_CODE: code,
        headers.ERROR_STAGE: "write",
        headers.EXCEPTION_CLASS: "MessageError",
        headers.EXCEPTION_MESSAGE: f"because of {code}",
        headers.FIRST_FAILED_AT: when,
        headers.LAST_FAILED_AT: when,
        headers.ORIGINAL_QUEUE: "memq.write",
        headers.WORKER: "w-1",
        **more,
    }


async def bury(
    channel: AbstractChannel,
    prefix: str,
    number: int,
    *,
    key: str = "upsert.docs",
    body: bytes | None = None,
    own: dict[str, Any] | None = None,
) -> None:
    """Puts a message with the point `number` into the dead-letter queue; its correlation id is the number."""
    message = aio_pika.Message(
        orjson.dumps({"points": [{"id": number, "vector": [1.0, 2.0]}]}) if body is None else body,
        headers=failed() if own is None else own,
        content_type=headers.JSON,
        delivery_mode=headers.PERSISTENT,
        priority=headers.PRIORITY,
        correlation_id=str(number),
        message_id=uuid4().hex,
        timestamp=datetime.now(UTC),
        app_id=headers.APP_ID,
    )
    exchange = await channel.get_exchange(Names(prefix).dead, ensure=False)
    await exchange.publish(message, key)


async def left(address: Address, queue: str) -> list[str]:
    """Takes what is in the queue: the correlation ids, in order."""
    return [str(message.correlation_id) for message in await take(address, queue)]
