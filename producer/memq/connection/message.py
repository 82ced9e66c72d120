from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memq_schemas.headers import SENT
from memq_schemas.properties import ChangedHeaders

if TYPE_CHECKING:
    from memq_schemas.properties import Properties


def _now() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Message:
    """One attempt at a publish.

    properties: the envelope, but for what follows.   message_id: no other attempt's, since transports match returned
    messages to confirms by it.   headers: beside those of the properties; tracing adds to them.
    sent_ms: epoch milliseconds; None for a message that keeps the times that its sender gave.
    """

    body: bytes
    properties: Properties
    message_id: str
    headers: dict[str, Any] = field(default_factory=dict[str, Any])
    sent_ms: int | None = field(default_factory=_now)

    def whole(self) -> Properties:
        given, headers, timestamp = self.properties.headers, self.headers, self.properties.timestamp
        if self.sent_ms is not None:
            headers, timestamp = {SENT: self.sent_ms, **headers}, self.sent_ms // 1000
        own = ChangedHeaders(given, added=headers) if given and headers else given or headers
        return self.properties._replace(headers=own, message_id=self.message_id, timestamp=timestamp)
