"""Effects of RabbitMQ's policies on memq's queues and exchanges: which of them lose messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memq_schemas.topology import REQUEST_TTL_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memq_schemas.topology import Names

# A dead letter is looked at by people and by their scripts. With fewer looks than this, a script that lists the
# letters once a minute loses them within weeks.
LOOKS = 100_000
# Of a quorum queue without one, from RabbitMQ 4.0 on.
_DEFAULT_DELIVERY_LIMIT = 20


@dataclass(frozen=True, slots=True)
class QueuePolicies:
    """A queue with the policies that apply to it.

    definition: the merged definition of `policy` and `operator_policy`.   version: of RabbitMQ, as text.
    """

    name: str
    arguments: Mapping[str, Any]
    policy: str | None = None
    operator_policy: str | None = None
    definition: Mapping[str, Any] = field(default_factory=dict[str, Any])
    version: str = "4"

    @property
    def quorum(self) -> bool:
        return self.arguments.get("x-queue-type") == "quorum"

    @property
    def dead_letters(self) -> bool:
        """Return True if the queue has a dead-letter exchange."""
        return bool(self._both("dead-letter-exchange"))

    @property
    def dead_letter_key(self) -> str | None:
        """Routing key that dead-lettered messages get in place of their own."""
        return next(iter(self._both("dead-letter-routing-key")), None)

    @property
    def delivery_limit(self) -> int | None:
        """Deliveries after which the queue drops or dead-letters a message; None for no limit."""
        if not self.quorum:
            return None
        given = self._numbers("delivery-limit")
        if self.version.startswith("3."):
            # A negative limit allows no second delivery.
            return max(min(given), 0) if given else None
        if not given:
            return _DEFAULT_DELIVERY_LIMIT
        # A negative limit means none, and a positive one beside it holds.
        limit = max(given) if min(given) < 0 else min(given)
        return None if limit < 0 else limit

    @property
    def drops_head(self) -> bool:
        """Return True if the queue drops its oldest message when it is full."""
        by_policy, by_argument = self.definition.get("overflow"), self.arguments.get("x-overflow")
        # A quorum queue prefers its policy, a classic queue its argument.
        chosen = (by_policy or by_argument) if self.quorum else (by_argument or by_policy)
        return chosen in (None, "drop-head")

    @property
    def limits(self) -> dict[str, int]:
        """Effective length limits by name."""
        names = ("max-length", "max-length-bytes")
        return {name: min(both) for name in names if (both := self._numbers(name))}

    def smallest(self, name: str) -> int | None:
        """Effective value of a setting of which the smaller of argument and policy holds."""
        return min(self._numbers(name), default=None)

    def source(self, name: str) -> str:
        """Return who sets a value, for a person: a policy by name, the queue's arguments, or RabbitMQ itself."""
        if name not in self.definition:
            return "its arguments" if f"x-{name}" in self.arguments else "RabbitMQ's default"
        known = (("policy", self.policy), ("operator policy", self.operator_policy))
        return " or ".join(f"{kind} {policy!r}" for kind, policy in known if policy) or "a policy"

    def _both(self, name: str) -> list[Any]:
        """Values of the argument and of the policy, in this order, without those that are not set."""
        given = (self.arguments.get(f"x-{name}"), self.definition.get(name))
        return [value for value in given if value is not None]

    def _numbers(self, name: str) -> list[int]:
        return [value for value in self._both(name) if isinstance(value, int)]


@dataclass(frozen=True, slots=True)
class ExchangePolicy:
    """An exchange with its policy.   alternate: exchange to which the policy sends what no queue takes."""

    name: str
    policy: str
    alternate: str


@dataclass(frozen=True, slots=True)
class Loss:
    """One way in which a queue or an exchange loses messages.   source: the policy that causes it, with its kind."""

    queue: str
    source: str
    setting: str
    value: Any
    effect: str

    @property
    def cause(self) -> str:
        return f"{self.source} sets {self.setting} to {self.value}: {self.effect}"


def losses(queue: QueuePolicies, names: Names) -> list[Loss]:
    """Return every way in which `queue` loses messages that memq promises to keep."""
    found: list[Loss] = []

    def report(setting: str, value: Any, effect: str) -> None:
        found.append(Loss(queue.name, queue.source(setting), setting, value, effect))

    if (expires := queue.smallest("expires")) is not None:
        report("expires", expires, "RabbitMQ deletes the queue with its messages when nobody uses it for so long")
    for setting, value in queue.limits.items():
        if queue.drops_head and queue.name not in (names.store, names.tenants):
            report(setting, value, _dropped(queue, names))
    if queue.drops_head and queue.arguments.get("x-overflow") == "reject-publish" and not queue.limits:
        report(
            "overflow", "drop-head", "dead-lettering is no longer at-least-once, so a message may be lost on its way"
        )
    if (effect := _expired(queue, names)) is not None:
        report("message-ttl", queue.smallest("message-ttl"), effect)
    if queue.name in (names.dead, names.store) and (limit := queue.delivery_limit) is not None and limit < LOOKS:
        away = " or moves" if queue.dead_letters else ""
        report("delivery-limit", limit, f"RabbitMQ drops{away} a dead letter after so many looks at it")
    if queue.dead_letters and (key := queue.dead_letter_key) is not None:
        report("dead-letter-routing-key", repr(key), "messages lose their routing key, which is their address")
    return found


def diverted(exchange: ExchangePolicy) -> Loss:
    """Return how an exchange loses messages by its alternate exchange."""
    effect = "a message that no queue takes goes there and is confirmed, instead of returning to its sender"
    source = f"policy {exchange.policy!r}"
    return Loss(exchange.name, source, "alternate-exchange", repr(exchange.alternate), effect)


def _expired(queue: QueuePolicies, names: Names) -> str | None:
    """Return the effect of the queue's message-ttl; None if it has none, or loses nothing by it."""
    ttl = queue.smallest("message-ttl")
    if ttl is None:
        return None
    if names.is_request(queue.name):
        own = ttl >= REQUEST_TTL_MS
        return None if own else "RabbitMQ removes requests after so many milliseconds, and they get no answer"
    kept = {
        names.dead: "dead letters",
        names.store: "the announced store",
        names.tenants: "the generation of the tenants file",
    }
    away = " or moves" if queue.dead_letters else ""
    return f"RabbitMQ removes{away} {kept[queue.name]} after so many milliseconds" if queue.name in kept else None


def _dropped(queue: QueuePolicies, names: Names) -> str:
    if names.is_request(queue.name):
        return "a full queue drops the oldest requests, which get no answer"
    if queue.dead_letters:
        return "a full queue drops its oldest messages, and dead-letters them at most once"
    return "a full queue drops its oldest messages"


def summary(found: list[Loss]) -> str:
    """Return one sentence per cause, with the queues and exchanges that it affects."""
    queues: dict[str, list[str]] = {}
    for loss in found:
        queues.setdefault(loss.cause, []).append(loss.queue)
    return "; ".join(f"{cause} ({', '.join(names)})" for cause, names in queues.items())
