from collections.abc import Generator
from contextlib import contextmanager

from memq_amqp import Lost
from memq_amqp.refusals import Kind

from memq_worker.errors import BrokerUnavailable


@contextmanager
def lost() -> Generator[None]:
    """Raise BrokerUnavailable for a connection that is gone or does not answer, with Lost as its cause."""
    try:
        yield
    except Lost as error:
        raise BrokerUnavailable(reason(error)) from error
    except TimeoutError as error:
        raise BrokerUnavailable("the broker did not answer in time") from error


def reason(error: Lost) -> str:
    """Return why the broker is unavailable."""
    unavailable = error.kind in (Kind.LOST, Kind.TIMEOUT)
    return f"the broker {'is unavailable' if unavailable else 'refused'}: {error}"
