from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memq_schemas.properties import ChangedHeaders

if TYPE_CHECKING:
    from memq_schemas.properties import Properties


@dataclass(slots=True)
class Message:
    """One attempt at a publish.

    properties: the envelope, but for what follows.   message_id: no other attempt's, since transports match returned
    messages to confirms by it.   headers: beside those of the properties; tracing adds to them.
    timestamp: epoch seconds, or for a message that is published again whatever its sender gave.
    """

    body: bytes
    properties: Properties
    message_id: str
    headers: dict[str, Any] = field(default_factory=dict[str, Any])
    timestamp: int | None = field(default_factory=lambda: int(time.time()))

    def whole(self) -> Properties:
        given = self.properties.headers
        own = ChangedHeaders(given, added=self.headers) if given and self.headers else given or self.headers
        return self.properties._replace(headers=own, message_id=self.message_id, timestamp=self.timestamp)
