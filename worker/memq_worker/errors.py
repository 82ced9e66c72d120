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


class ConfigurationError(Exception):
    """Start-up cannot succeed until a person changes something; never retried."""


class MessageError(WorkerError):
    """This delivery is at fault: answered with an error and, if it is a write, dead-lettered at once."""


class DependencyError(WorkerError):
    """The store answered badly for a reason that may lie in the message: costs an attempt."""


class Outage(WorkerError):
    """The store is away, takes no writes, or asks to slow down: wait, spend nothing, take no more.

    `away` when it cannot be asked anything; otherwise it may still answer questions.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        stage: str = "write",
        retry_after_seconds: float | None = None,
        away: bool = False,
    ) -> None:
        super().__init__(code, message, stage=stage)
        self.retry_after_seconds = retry_after_seconds
        self.away = away


class BrokerUnavailable(Exception):
    """The connection or channel is gone. What was not settled on it, the broker delivers again."""


class Unconfirmed(Exception):
    """The broker has refused a publish: a full queue, or a quorum queue electing its leader."""


class Unroutable(Exception):
    """The broker had no queue for a mandatory publish."""
