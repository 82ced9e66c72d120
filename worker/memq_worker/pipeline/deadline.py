from datetime import datetime

from memq_schemas import ErrorCode, headers
from memq_schemas.properties import Properties
from memq_worker.errors import MessageError

# Milliseconds from 1973 to 5138. Seconds and microseconds of our time are outside.
_SENSIBLE = range(10**11, 10**14)


def epoch_seconds(deadline: object) -> float:
    """Return the deadline that a header has: epoch milliseconds as a number or as text, or an AMQP timestamp.

    Raises MessageError for anything else, and for numbers that are milliseconds of another age.
    """
    if isinstance(deadline, datetime):
        return deadline.timestamp()
    if isinstance(deadline, str) and len(deadline) <= 20 and deadline.isascii() and deadline.isdigit():
        deadline = int(deadline)
    if not isinstance(deadline, int | float) or isinstance(deadline, bool):
        raise _refused("expected epoch milliseconds, as a number or as text, or an AMQP timestamp")
    if not _SENSIBLE.start <= deadline < _SENSIBLE.stop:
        raise _refused("expected epoch milliseconds; a number of seconds has 10 digits, of milliseconds 13")
    return deadline / 1000


def _refused(reason: str) -> MessageError:
    return MessageError(ErrorCode.INVALID, f"{headers.DEADLINE}: {reason}", stage="decode")


# A deadline that has passed by so much on arrival, of a message that the broker has not expired, is of another clock.
_SKEW_SECONDS = 1.0


class Deadlines:
    """Reads the deadlines of messages as they arrive, by this machine's clock.

    broker_timestamp: the broker overwrites the header `timestamp_in_ms` of every message, so its value can be trusted.
    """

    def __init__(self, *, broker_timestamp: bool = False) -> None:
        self._broker_timestamp = broker_timestamp

    def of(self, properties: Properties, *, first: bool, now: float) -> tuple[float | None, float]:
        """Return the deadline in epoch seconds, or None, and by how many seconds the sender's clock is late.

        first: the message has not been delivered, nor published by a worker, before. Raises MessageError for a
        deadline that is none.
        """
        given = properties.headers.get(headers.DEADLINE)
        if given is None:
            return None, 0.0
        deadline = epoch_seconds(given)
        late = now - deadline
        if not first or late <= _SKEW_SECONDS or (allowed := _allowed(properties)) is None:
            return deadline, 0.0
        # It may wait until its expiration, and has waited for an unknown time unless the broker says when it arrived.
        waited = self._waited(properties, now) if self._broker_timestamp else 0.0
        return now + max(allowed - waited, 0.0), late

    def _waited(self, properties: Properties, now: float) -> float:
        stamp = properties.headers.get(headers.BROKER_TIMESTAMP)
        milliseconds = isinstance(stamp, int) and not isinstance(stamp, bool) and stamp in _SENSIBLE
        return max(now - stamp / 1000, 0.0) if milliseconds and isinstance(stamp, int) else 0.0


def _allowed(properties: Properties) -> float | None:
    """Return the expiration in seconds; None without a valid one."""
    text = properties.expiration
    return int(text) / 1000 if text and len(text) <= 12 and text.isascii() and text.isdigit() else None
