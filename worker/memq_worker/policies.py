"""Findings about RabbitMQ's policies, read over its management API."""

from memq_amqp.management import VARIABLE, ManagementError, management

from memq_schemas.policies import summary
from memq_worker.errors import ConfigurationError
from memq_worker.settings import Settings

_REMEDY = "change the pattern so that it matches none of them, or let a policy of higher priority match them"


async def check_policies(settings: Settings) -> str:
    """Return what is known about the policies of memq's queues and exchanges.

    Raises ConfigurationError if a policy loses messages, or if MEMQ_MANAGEMENT_URL is set and cannot be used.
    """
    if settings.management_url is None:
        return f"unknown: set {VARIABLE} to find policies that lose messages"
    names = settings.topology.names
    broker = settings.brokers[0]
    try:
        with management(settings.management_url.get_secret_value(), broker) as api:
            queues = await api.queues(broker.vhost, settings.prefix)
            found = await api.losses(broker.vhost, names, queues)
    except ManagementError as error:
        raise ConfigurationError(f"{VARIABLE}: {error}") from error
    if found:
        raise ConfigurationError(f"messages can be lost: {summary(found)}; {_REMEDY}")
    return f"{api} answers; none of {len(queues)} queues loses messages by a policy"
