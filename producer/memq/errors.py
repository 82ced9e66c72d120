"""Everything memq raises on purpose. Each type says who has to act."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memq.answers import Receipt


class MemqError(Exception):
    """Anything that memq reports.

    points: positions, in this call, of the points in the message that failed; None where no points are involved.
    confirmed: what this call had safely delivered before it failed; None where it delivers nothing.
    """

    points: range | None = None
    confirmed: Receipt | None = None

    def __str__(self) -> str:
        text = super().__str__()
        if not self.points:  # a delete by filter has an empty range
            return text
        return f"{text} (message with points {self.points.start} to {self.points.stop - 1}, counted from 0)"


class InvalidRequest(MemqError, ValueError):
    """The call itself is wrong; nothing of it was sent."""


class InvalidPoint(InvalidRequest):
    """One point cannot be sent. Points before it may have been: see `confirmed`.

    index: its position in this call, from 0.   field: id, vector, payload or version; None for the point as a whole.
    """

    def __init__(self, index: int, field: str | None, reason: str) -> None:
        super().__init__(f"points[{index}]{'.' + field if field else ''}: {reason}")
        self.index = index
        self.field = field
        self.reason = reason


class WrongContext(MemqError):
    """The producer belongs to another event loop or another process; nothing of the call was sent."""


class ConfigurationError(MemqError):
    """The broker's address, user, vhost or rights are wrong: waiting does not help."""


class TopologyMissing(ConfigurationError):
    """The exchange is not there: nobody has declared memq's queues on this broker yet."""


class BrokerUnavailable(MemqError):
    """No connection in time, or it broke under a request that must not be sent twice."""


class Unconfirmed(MemqError):
    """The broker did not confirm a message in time. It may have arrived; sending it again is harmless for upserts."""


class BufferFull(Unconfirmed):
    """The limit on unconfirmed messages was reached for `buffer_timeout` seconds; this message was not published."""


class QuotaExceeded(Unconfirmed):
    """A limit of the tenant is reached; this message was not accepted. Send it again once there is room.

    limit: name of the limit in the tenants file.
    """

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(message)
        self.limit = limit


class MessageTooLarge(MemqError):
    """The broker accepts no message of this size; it has not got it. Send fewer points per message.

    limit: bytes, of the body or of the properties, whichever the message says.
    """

    limit: int | None = None


class OutboxError(MemqError):
    """The outbox's file is in use by another producer, is no outbox, or the disk fails. Nothing of it was sent."""


class OutboxFull(OutboxError):
    """The outbox holds as much as it may: the broker has been away for longer than it was made for."""


class LetterAtRisk(MemqError):
    """The delivery limit of the dead-letter queue is near, and looking at its letters could lose them."""


class Unroutable(MemqError):
    """The broker has no queue for the message and has thrown it away."""


class ReplyTimeout(MemqError):
    """No answer in time. A write that waited for one is queued and will still be applied."""


class RemoteError(MemqError):
    """The worker's answer was an error.

    code: one of memq_schemas.ErrorCode, as text.   status: as in HTTP.   retryable: whether later may work.
    retry_after: seconds to wait before that, where the worker knows.   elapsed_ms: the worker's time for the answer.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int,
        retryable: bool,
        retry_after: float | None = None,
        elapsed_ms: float | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after
        self.elapsed_ms = elapsed_ms
