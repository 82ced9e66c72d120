from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from memq.connection.address import addresses
from memq.connection.transport import transport
from memq.encode.arrow.library import pyarrow
from memq.errors import InvalidRequest
from memq_schemas.tenants import TenantNames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from memq.connection.link import ConnectionChange
    from memq.connection.transport import Transport
    from memq_schemas import Names

# RabbitMQ 4's default for the largest message.
OUTBOX_MESSAGE_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Options:
    """Options of a producer, described in Producer. Raises InvalidRequest and ConfigurationError."""

    url: str | Sequence[str] | None
    names: Names
    tenant: str
    timeout: float
    confirm_timeout: float
    max_message_bytes: int
    max_points_per_message: int
    max_in_flight: int
    buffer_timeout: float | None
    outbox: Path | None
    outbox_bytes: int
    client: str
    transport: Transport | None
    arrow: bool | None
    compression: str | None
    listener: Callable[[ConnectionChange], None] | None
    frames: Transport = field(init=False)
    route: Names | TenantNames = field(init=False)
    """Names of the exchanges to publish to: those of the tenant, or of the operator."""

    def __post_init__(self) -> None:
        addresses(self.url)
        try:
            self.route = TenantNames(self.names.prefix, self.tenant) if self.tenant else self.names
        except (ValueError, TypeError) as error:
            raise InvalidRequest(str(error)) from None
        self.frames = transport(self.transport)
        limits = [
            self.timeout,
            self.confirm_timeout,
            self.max_message_bytes,
            self.max_points_per_message,
            self.max_in_flight,
            self.outbox_bytes,
        ]
        if self.buffer_timeout is not None:
            limits.append(self.buffer_timeout)
        if not all(isinstance(cast("object", limit), (int, float)) and limit > 0 for limit in limits):
            raise InvalidRequest("timeouts and limits have to be greater than zero")
        if self.compression not in (None, "zstd"):
            raise InvalidRequest("compression is 'zstd' or None")
        if self.compression or self.arrow:
            pyarrow()
        if self.outbox is not None and self.max_message_bytes > OUTBOX_MESSAGE_BYTES:
            raise InvalidRequest(
                f"with an outbox max_message_bytes is at most {OUTBOX_MESSAGE_BYTES}: one message that the broker "
                "refuses for its size would hold up all behind it"
            )
