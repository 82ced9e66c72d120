import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from aiormq.exceptions import AMQPError, ChannelInvalidStateError

from memq_worker.errors import BrokerUnavailable


@contextmanager
def lost() -> Generator[None]:
    """Turns every way in which aiormq says that a connection is gone, or does not answer, into BrokerUnavailable."""
    try:
        yield
    except asyncio.CancelledError:
        # aiormq cancels what waits on a connection that died. Our own cancellation is the one that asked this task.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BrokerUnavailable("the connection was lost") from None
    except (AMQPError, ChannelInvalidStateError, OSError, TimeoutError, RuntimeError) as error:
        raise BrokerUnavailable(f"{type(error).__name__}: the broker is gone or does not answer") from error
