from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, cast

from memq_schemas.headers import LANE
from memq_schemas.routing import REQUESTS, WRITES, Operation

DEFAULT_PREFIX = "memq"
RETRY_SECONDS = (1, 5, 30, 120, 600)

# Each is explicit: unset means unlimited on RabbitMQ 3.10 but 20 on 4.x, and -1 means none at all on 3.10.
WRITE_DELIVERY_LIMIT = 1000
SUSPECT_DELIVERY_LIMIT = 3
# Nobody's attempts count here: a person who looks into a queue takes a message and puts it back, and at 20 looks a
# dead letter would be dropped for good, and a waiting retry sent on early.
DEAD_DELIVERY_LIMIT = RETRY_DELIVERY_LIMIT = 1_000_000_000

REQUEST_TTL_MS = 30_000

Order = Literal["relaxed", "strict"]

Lane = Literal["live", "bulk"]
LIVE: Lane = "live"
BULK: Lane = "bulk"


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    kind: Literal["topic", "fanout", "headers", "direct"]


@dataclass(frozen=True, slots=True)
class Queue:
    """Durable, never exclusive, never auto-deleted."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Binding:
    exchange: str
    queue: str
    routing_key: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Names:
    """Every name of the topology, from one prefix."""

    prefix: str = DEFAULT_PREFIX
    commands: str = field(init=False)
    bulk: str = field(init=False)
    internal: str = field(init=False)
    write: str = field(init=False)
    write_bulk: str = field(init=False)
    query: str = field(init=False)
    suspect: str = field(init=False)
    dead: str = field(init=False)
    store: str = field(init=False)
    tenants: str = field(init=False)
    tenants_write: str = field(init=False)
    tenants_write_bulk: str = field(init=False)
    tenants_query: str = field(init=False)

    def __post_init__(self) -> None:
        for name in [each.name for each in fields(self)[1:]]:
            object.__setattr__(self, name, f"{self.prefix}.{name.replace('_', '.')}")

    def retry(self, seconds: int, *, internal: bool = False) -> str:
        """Name of the retry tier of `seconds`.

        internal: the tier that returns messages through the internal exchange, by lane.
        """
        return f"{self.internal if internal else self.prefix}.retry.{seconds}"

    def replies(self, tenant: str) -> str:
        """Name of the exchange through which a tenant's answers come."""
        return f"{self.prefix}.r.{tenant}"

    def has_retried(self, deaths: object) -> bool:
        """Return True if `deaths`, the header x-death, has an entry of a retry tier."""
        tiers = (f"{self.prefix}.retry.", f"{self.internal}.retry.")
        entries = cast("list[object]", deaths) if isinstance(deaths, list) else []
        queues = [cast("dict[str, object]", each).get("queue") for each in entries if isinstance(each, dict)]
        return any(isinstance(queue, str) and queue.startswith(tiers) for queue in queues)

    def reply(self, token: str) -> str:
        return f"{self.prefix}.reply.{token}"

    @property
    def beside_lanes(self) -> tuple[str, ...]:
        """Queues that workers consume besides those of writes."""
        return self.query, self.tenants_query, self.suspect

    def is_request(self, queue: str) -> bool:
        """True for the queues of requests, which are answered and neither retried nor dead-lettered."""
        return queue in (self.query, self.tenants_query)

    def is_own(self, queue: str) -> bool:
        """True for the queues that memq itself consumes: a reply addressed to one would be taken for a command."""
        return queue.startswith(f"{self.prefix}.") and not queue.startswith(f"{self.prefix}.reply.")


@dataclass(frozen=True, slots=True)
class Topology:
    names: Names
    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]

    def without(self, queues: Collection[str]) -> Self:
        """The same but for the queues of these names, and their bindings."""
        return replace(
            self,
            queues=tuple(queue for queue in self.queues if queue.name not in queues),
            bindings=tuple(binding for binding in self.bindings if binding.queue not in queues),
        )


def _quorum(dead_letter_exchange: str | None = None, **arguments: Any) -> dict[str, Any]:
    result: dict[str, Any] = {"x-queue-type": "quorum"}
    if dead_letter_exchange is not None:
        # at-least-once needs reject-publish; without the pair a dead letter is lost when its target is not there.
        result |= {
            "x-dead-letter-exchange": dead_letter_exchange,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
    return result | {key.replace("_", "-"): value for key, value in arguments.items()}


def topology(
    prefix: str = DEFAULT_PREFIX, request_queue: Literal["classic", "quorum"] = "classic", order: Order = "relaxed"
) -> Topology:
    """Exchanges, queues and bindings, all durable.

    The exchange chooses the lane: `commands` the live lane, `bulk` the bulk lane. With `strict` order the write queue
    has a single active consumer, and `bulk` leads to it as well: two queues have no common order.

    Retries and dead letters travel through fanout exchanges and return through a dead-letter exchange without a key
    override, so a message keeps its routing key for life. Retry tiers of the live lane return through `commands`; all
    other lanes have tiers of their own, which return through the headers exchange `internal` into the lane that the
    worker wrote into the header `x-lane`.
    """
    names = Names(prefix)
    strict = order == "strict"
    single = {"x_single_active_consumer": True} if strict else {}
    lanes = {LIVE: names.write, BULK: names.write if strict else names.write_bulk}
    tiers = tuple(
        (names.retry(seconds, internal=internal), names.internal if internal else names.commands, seconds)
        for internal in (False, True)
        for seconds in RETRY_SECONDS
    )
    exchanges = (
        Exchange(names.commands, "topic"),
        Exchange(names.bulk, "topic"),
        Exchange(names.internal, "headers"),
        *(Exchange(tier, "fanout") for tier, _, _ in tiers),
        Exchange(names.suspect, "fanout"),
        Exchange(names.dead, "fanout"),
    )
    queues = (
        *(write_queue(name, names, **single) for name in dict.fromkeys(lanes.values())),
        Queue(names.query, {"x-queue-type": request_queue, "x-message-ttl": REQUEST_TTL_MS}),
        *(
            Queue(tier, _quorum(back, x_message_ttl=seconds * 1000, x_delivery_limit=RETRY_DELIVERY_LIMIT))
            for tier, back, seconds in tiers
        ),
        Queue(names.suspect, _quorum(names.dead, x_delivery_limit=SUSPECT_DELIVERY_LIMIT)),
        Queue(names.dead, _quorum(x_delivery_limit=DEAD_DELIVERY_LIMIT)),
        # One message: the store that the workers write to. The first worker to announce its store wins.
        Queue(names.store, {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}),
    )
    bindings = (
        *(Binding(names.commands, names.write, f"{word}.#") for word in WRITE_WORDS),
        *(Binding(names.commands, names.query, f"{word}.#") for word in REQUEST_WORDS),
        *(Binding(names.bulk, lanes[BULK], f"{word}.#") for word in WRITE_WORDS),
        *(lane_binding(names, lane, queue) for lane, queue in lanes.items()),
        *(Binding(name, name, "") for name in (*(tier for tier, _, _ in tiers), names.suspect, names.dead)),
    )
    return Topology(names, exchanges, queues, bindings)


def write_queue(name: str, names: Names, **arguments: Any) -> Queue:
    """A queue of writes: the same arguments for every lane."""
    return Queue(name, _quorum(names.dead, x_delivery_limit=WRITE_DELIVERY_LIMIT, **arguments))


def lane_binding(names: Names, lane: str, queue: str) -> Binding:
    """Return messages of `lane` from the internal exchange to its queue."""
    # "all" ignores arguments that begin with x-.
    return Binding(names.internal, queue, "", {"x-match": "all-with-x", LANE: lane})


def _words(operations: Collection[Operation]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(operation.value.split(".")[0] for operation in sorted(operations)))


WRITE_WORDS = _words(WRITES)
REQUEST_WORDS = _words(REQUESTS)


def definitions(layout: Topology, vhost: str = "/") -> dict[str, Any]:
    """The same topology as a RabbitMQ definitions file, without users: those belong to the deployment."""
    place = {"vhost": vhost, "durable": True, "auto_delete": False}
    return {
        "vhosts": [{"name": vhost}],
        "exchanges": [
            {"name": e.name, "type": e.kind, "internal": False, "arguments": {}, **place} for e in layout.exchanges
        ],
        "queues": [{"name": q.name, "arguments": q.arguments, **place} for q in layout.queues],
        "bindings": [
            {
                "source": b.exchange,
                "vhost": vhost,
                "destination": b.queue,
                "destination_type": "queue",
                "routing_key": b.routing_key,
                "arguments": b.arguments,
            }
            for b in layout.bindings
        ],
    }
