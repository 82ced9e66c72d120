"""Looks that the dead-letter queue survives: before RabbitMQ 4.3 each counts against the queue's delivery limit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memq_amqp.management import VARIABLE, ManagementError, management

from memq.errors import LetterAtRisk
from memq_schemas.policies import summary
from memq_schemas.secret_files import SecretFileError, given_secret

if TYPE_CHECKING:
    from memq_amqp import Received

    from memq.connection.address import Address
    from memq_schemas import Names

# A list, a look at one letter and a rehearsed replay cost a look each.
RESERVED = 10


@dataclass(frozen=True, slots=True)
class DeliveryLimit:
    """limit: deliveries after which RabbitMQ drops a letter; None for no limit, or if it is unknown.

    unknown: why the policies could not be read; empty if they were.   source: who sets the limit.
    losses: how policies of memq's queues and exchanges lose messages; empty if they do not.
    """

    limit: int | None = None
    source: str = ""
    unknown: str = ""
    losses: str = ""

    def check(self, letter: Received | None = None) -> None:
        """Raise LetterAtRisk if the queue allows too few more looks at the letter, or at a letter never looked at."""
        if self.limit is None:
            return
        looks = 0 if letter is None else _deliveries(letter)
        if looks + RESERVED >= self.limit:
            had = f" after {looks} of them" if looks else ""
            raise LetterAtRisk(
                f"RabbitMQ drops a dead letter at delivery {self.limit} ({self.source}), and each look is one{had}: "
                "exclude memq's queues from the policy, or look with --force (force=True)"
            )


async def read_delivery_limit(address: Address, names: Names) -> DeliveryLimit:
    """Read the limit of the dead-letter queue over the management API.

    Its address is in MEMQ_MANAGEMENT_URL or in the file that MEMQ_MANAGEMENT_URL_FILE names.
    """
    try:
        given = given_secret(os.environ, VARIABLE)
    except SecretFileError as error:
        return DeliveryLimit(unknown=str(error))
    if given is None:
        return DeliveryLimit(unknown=f"{VARIABLE} is not set")
    try:
        with management(given.value, address) as api:
            queues = await api.queues(address.vhost, names.prefix)
            found = summary(await api.losses(address.vhost, names, queues))
    except ManagementError as error:
        return DeliveryLimit(unknown=f"{VARIABLE}: {error}")
    for queue in queues:
        if queue.name == names.dead:
            source = f"delivery-limit, set by {queue.source('delivery-limit')}"
            return DeliveryLimit(queue.delivery_limit, source, losses=found)
    return DeliveryLimit(unknown=f"{VARIABLE}: no queue {names.dead!r} there")


def _deliveries(letter: Received) -> int:
    count = letter.properties.headers.get("x-delivery-count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0
