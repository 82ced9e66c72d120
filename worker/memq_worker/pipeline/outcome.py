from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from memq_schemas import ErrorCode
from memq_schemas.topology import RETRY_SECONDS
from memq_worker.errors import DependencyError, MessageError, Throttled, WorkerError
from memq_worker.pipeline.store import Id


@dataclass(frozen=True, slots=True)
class Done:
    """Applied or answered: acknowledge. `label` is one of the closed set of outcomes in metrics and logs."""

    label: str
    result: Any = None


@dataclass(frozen=True, slots=True)
class Retry:
    """A copy goes to the tier of `seconds`. `spends`: the attempt counts. `place`: among the parked, in a header."""

    seconds: int
    error: WorkerError
    spends: bool = True
    place: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    error: WorkerError


@dataclass(frozen=True, slots=True)
class Refuse:
    """A request that is answered with an error; requests have no dead letters."""

    error: WorkerError


@dataclass(frozen=True, slots=True)
class Expire:
    """Its deadline has passed: nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A write that may be the one that kills workers: moved to the suspect queue, to be processed alone."""


@dataclass(frozen=True, slots=True)
class Release:
    """Handed back to the queue, as if it had not been delivered."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempt n waits in tier n, the last tier repeating, until `max_attempts` have been made."""

    max_attempts: int
    in_place: bool = False  # a failed write waits here, its ids in flight, so that no later one of them passes it

    def next_seconds(self, attempt: int) -> int | None:
        """The tier to wait in after a failed `attempt` (from 1); None when it was the last."""
        if attempt >= self.max_attempts:
            return None
        return RETRY_SECONDS[min(max(attempt, 1), len(RETRY_SECONDS)) - 1]


def tier(seconds: float) -> int:
    """Return the shortest tier of at least `seconds`, or the longest there is."""
    return next((each for each in RETRY_SECONDS if each >= seconds), RETRY_SECONDS[-1])


def tier_within(seconds: float) -> int:
    """Return the longest tier that ends within `seconds`, or the shortest there is."""
    return next((each for each in reversed(RETRY_SECONDS) if each <= seconds), RETRY_SECONDS[0])


Outcome = Done | Retry | DeadLetter | Refuse | Expire | Quarantine | Release


def described(outcome: Outcome) -> tuple[str, WorkerError | None]:
    """Return the label of an outcome in metrics and logs, and its error."""
    match outcome:
        case Done():
            return outcome.label, None
        case Retry():
            return "retried", outcome.error
        case DeadLetter():
            return "dead_lettered", outcome.error
        case Refuse():
            return "refused", outcome.error
        case Expire():
            return "expired", None
        case Release() | Quarantine():
            return "released" if isinstance(outcome, Release) else "quarantined", None
        case _ as never:
            assert_never(never)


def decide(error: Exception, attempt: int, policy: RetryPolicy) -> Outcome:
    """Decide the outcome of a write that failed in its `attempt`, counted from 1."""
    if isinstance(error, MessageError):
        return DeadLetter(error)
    if isinstance(error, Throttled):
        return Retry(tier(error.retry_after_seconds), error, spends=False)
    if not isinstance(error, WorkerError):
        error = DependencyError(ErrorCode.UNEXPECTED, f"unexpected {type(error).__name__} in the worker")
    seconds = policy.next_seconds(attempt)
    return DeadLetter(error) if seconds is None else Retry(seconds, error)


def partly_stored(error: MessageError, ids: Sequence[Id] | None) -> MessageError:
    """The refusal of a message that was sent to the store, which may have stored some of its points."""
    if ids is None or len(ids) < 2 or error.code is ErrorCode.UNKNOWN_COLLECTION:
        return error
    note = "; some of the message's points may have been written"
    found = MessageError(error.code, f"{error.message}{note}", stage=error.stage, answer=f"{error.answer}{note}")
    found.__cause__ = error.__cause__
    return found
