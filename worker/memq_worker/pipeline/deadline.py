from datetime import datetime

from memq_schemas import ErrorCode, headers
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
