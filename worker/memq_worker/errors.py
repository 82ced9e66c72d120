from typing import Literal, Self

from memq_schemas import ErrorCode


class WorkerError(Exception):
    """Never raised itself: a subclass says who is at fault, and so what happens to the message.

    `message` goes into logs and dead-letter headers, so it names fields and limits and never quotes values.
    `answer` goes to the sender alone, who may see his own values again; it is the message unless given.
    """

    def __init__(self, code: ErrorCode, message: str, *, stage: str = "write", answer: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.stage = stage
        self.answer = message if answer is None else answer

    def reworded(self, message: str, answer: str) -> Self:
        """Return the same error in other words."""
        found = type(self).__new__(type(self), message)
        found.__dict__.update(self.__dict__)
        found.message, found.answer = message, answer
        found.__cause__ = self.__cause__
        return found


class ConfigurationError(Exception):
    """Start-up cannot succeed until a person changes something; never retried."""


class MessageError(WorkerError):
    """This delivery is at fault: answered with an error and, if it is a write, dead-lettered at once."""


class DependencyError(WorkerError):
    """The store answered badly for a reason that may lie in the message: costs an attempt."""


class Throttled(WorkerError):
    """A collection's rate limit is reached: try again after `retry_after_seconds`. Costs no attempt."""

    def __init__(self, message: str, *, stage: str = "write", retry_after_seconds: float) -> None:
        super().__init__(ErrorCode.OVERLOADED, message, stage=stage)
        self.retry_after_seconds = retry_after_seconds


Scope = Literal["message", "collection"]


class Outage(WorkerError):
    """The store may be unavailable. Whose failure it is, an independent question to the store decides.

    `away`: the store cannot be asked anything; otherwise it may still answer requests. `least`: the smallest scope that
    the failure can have; "collection" where the store's answer rules out that the message is at fault.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        stage: str = "write",
        retry_after_seconds: float | None = None,
        away: bool = False,
        least: Scope = "message",
    ) -> None:
        super().__init__(code, message, stage=stage)
        self.retry_after_seconds = retry_after_seconds
        self.away = away
        self.least: Scope = least

    @classmethod
    def of(cls, error: "Outage") -> Self:
        """Return the same failure as a `cls`."""
        found = cls(
            error.code,
            error.message,
            stage=error.stage,
            retry_after_seconds=error.retry_after_seconds,
            away=error.away,
            least=error.least,
        )
        found.__cause__ = error.__cause__
        return found


class StoreOutage(Outage):
    """Confirmed: the store does not answer an independent question either. All writes are held."""


class CollectionOutage(Outage):
    """The store answers others. Writes to this collection are held."""


class BrokerUnavailable(Exception):
    """The connection or channel is gone. What was not settled on it, the broker delivers again."""


class Unconfirmed(Exception):
    """The broker has refused a publish: a full queue, or a quorum queue electing its leader."""


class Unroutable(Exception):
    """The broker had no queue for a mandatory publish."""
