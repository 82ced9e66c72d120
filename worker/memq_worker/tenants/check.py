"""The tenants of a worker, as `memq-worker check` finds them."""

from memq_worker import access
from memq_worker.amqp.permissions import check_access
from memq_worker.errors import ConfigurationError
from memq_worker.settings import Settings
from memq_worker.tenants.file import read
from memq_worker.tenants.force import queues_of


async def check_tenants(settings: Settings) -> str:
    """Return the state of the tenants of the file in one line; a worker may consume their queues, and answer them.

    Raises ConfigurationError for a file that is not good, for a missing queue, exchange or permission, and
    BrokerUnavailable.
    """
    assert settings.tenants_file is not None
    file, names = read(settings.tenants_file), settings.topology.names
    queues = queues_of(file, names, settings.order)
    exchanges = [names.replies(tenant) for tenant in file.tenants]
    async with access.brokers(settings).connect("check tenants") as connection:
        missing = await check_access(connection, queues, exchanges, settings.amqp_timeout_seconds)
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise ConfigurationError(f"{shown}: missing on RabbitMQ; run memq-worker tenants apply")
    return f"{len(file.tenants)} in generation {file.generation} of the file; their queues and exchanges are there"
