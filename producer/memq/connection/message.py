from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memq_amqp import Properties


@dataclass(slots=True)
class Message:
    """One attempt at a publish.

    message_id: no other attempt's: transports match returned messages to confirms by it.   timestamp: epoch seconds.
    properties: the rest of the envelope, without headers, which are beside it because tracing adds to them.
    """

    body: bytes
    properties: Properties
    message_id: str
    headers: dict[str, Any] = field(default_factory=dict[str, Any])
    timestamp: int = field(default_factory=lambda: int(time.time()))

    def whole(self) -> Properties:
        return self.properties._replace(headers=self.headers, message_id=self.message_id, timestamp=self.timestamp)
