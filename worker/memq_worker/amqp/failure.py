from collections.abc import Generator
from contextlib import contextmanager

from aiormq.exceptions import AMQPError, ChannelInvalidStateError
from memq_amqp import Lost, cancellable
from memq_amqp.refusals import Kind, refusal_of

from memq_worker.errors import BrokerUnavailable


@contextmanager
def lost() -> Generator[None]:
    """Raise BrokerUnavailable for every way in which aiormq reports a connection that is gone or does not answer.

    Raises CancelledError if this task was cancelled meanwhile.
    """
    try:
        with cancellable():
            yield
    except Lost as error:
        raise BrokerUnavailable(str(error)) from None
    except (AMQPError, ChannelInvalidStateError, OSError, TimeoutError, RuntimeError) as error:
        refusal = refusal_of(error)
        if refusal is not None and refusal.kind not in (Kind.LOST, Kind.TIMEOUT):
            raise BrokerUnavailable(f"the broker refused: {refusal}") from error
        raise BrokerUnavailable(f"{type(error).__name__}: the broker is gone or does not answer") from error
