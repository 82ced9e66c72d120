from collections.abc import Generator
from contextlib import contextmanager

from memq_amqp import Lost, cancellable
from memq_amqp.refusals import Kind

from memq_worker.errors import BrokerUnavailable


@contextmanager
def lost() -> Generator[None]:
    """Raise BrokerUnavailable for a connection that is gone or does not answer, with Lost as its cause.

    Raises CancelledError if this task was cancelled meanwhile.
    """
    try:
        with cancellable():
            yield
    except Lost as error:
        if error.kind in (Kind.LOST, Kind.TIMEOUT):
            raise BrokerUnavailable(f"the broker is gone or does not answer: {error}") from error
        raise BrokerUnavailable(f"the broker refused: {error}") from error
    except TimeoutError as error:
        raise BrokerUnavailable("the broker is gone or does not answer: no answer in time") from error
