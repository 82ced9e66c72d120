import logging
from dataclasses import dataclass

from memq_schemas import ErrorCode, Names
from memq_worker.errors import MessageError
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.lines import operation_label, tenant_field

logger = logging.getLogger(__name__)

# Queues named by the broker, and direct reply-to.
_BROKER_NAMED = ("amq.gen-", "amq.rabbitmq.reply-to")


@dataclass(frozen=True, slots=True)
class ReplyTo:
    """Where replies may go.   any_queue: to any queue except memq's own, where a reply would be taken for a command."""

    names: Names
    any_queue: bool = False

    def accepts(self, address: str, tenant: str | None = None) -> bool:
        """Return True if a reply to the operator, or to a tenant, may be published to the queue of this name."""
        if tenant is not None:
            return address.startswith(self.names.reply(f"{tenant}."))
        if self.names.is_own(address):
            return False
        return self.any_queue or address.startswith((self.names.reply(""), *_BROKER_NAMED))

    def check(self, delivery: Delivery) -> None:
        """Raise MessageError for a request that nobody may be answered. A write is applied without a reply."""
        address, tenant = delivery.properties.reply_to, delivery.tenant
        if address and self.names.is_request(delivery.queue) and not self.accepts(address, tenant):
            raise MessageError(ErrorCode.INVALID_REPLY_TO, self.explain(address, tenant), stage="decode")

    def explain(self, address: str, tenant: str | None = None) -> str:
        """The reason for a refusal, with the setting that would change it."""
        if tenant is not None:
            return f"reply_to: expected {self.names.reply(f'{tenant}.*')}, bound to {self.names.prefix}.r.{tenant}"
        if self.names.is_own(address):
            return "reply_to: one of memq's own queues"
        own = self.names.reply("*")
        return f"reply_to: expected {own}, amq.gen-* or direct reply-to; MEMQ_REPLY_TO=any accepts other queues"

    def withhold(self, delivery: Delivery) -> None:
        """Log that a reply is withheld, without the address: its sender may have put anything there."""
        reason = self.explain(delivery.properties.reply_to or "", delivery.tenant)
        fields = {"op": operation_label(delivery), "reason": reason}
        logger.warning("reply withheld", extra=fields | tenant_field(delivery))
