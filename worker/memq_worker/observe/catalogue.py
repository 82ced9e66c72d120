import itertools
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from memq_schemas import ErrorCode, Operation
from memq_schemas.topology import BULK, LIVE, RETRY_SECONDS
from memq_worker.pipeline.ports import Reason

# 0.2 s is an objective, so it is an edge.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_DELAYS = (*_SECONDS, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
_SIZES = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0)

OPERATIONS = (*(operation.value for operation in Operation), "unknown")
WRITTEN = tuple(operation.value for operation in Operation if operation.is_write)
LANES = (LIVE, BULK)
OUTCOMES = (
    "applied",
    "superseded",
    "answered",
    "refused",
    "retried",
    "dead_lettered",
    "expired",
    "released",
    "quarantined",
)
STAGES = ("decode", "wait", "store", "settle")
REASONS = get_args(Reason)
CALLS = (
    "upsert",
    "delete",
    "payload",
    "vectors",
    "query",
    "get",
    "count",
    "scroll",
    "facet",
    "index",
    "alias",
    "contract",
    "collections",
)
CODES = tuple(code.value for code in ErrorCode)
TIERS = tuple(str(seconds) for seconds in RETRY_SECONDS)
MOST_TENANTS = 50
OTHER = "other"
# Series of a tenant by its number; the slot has the names. The 51st tenant and all later ones share one.
TENANTS = (*(str(number) for number in range(MOST_TENANTS)), OTHER)
TENANT_LIMITS = (
    "points_per_second",
    "bytes_per_second",
    "requests_per_second",
    "concurrency",
    "stored_points",
    "collections",
    "message_bytes",
)
CONSUMED = ("write", "write.bulk", "query", "suspect")
QUEUES = (*CONSUMED, "dead", *(f"retry.{tier}" for tier in TIERS))


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric and every combination of its labels' values. Counters are named without their `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    edges: tuple[float, ...] = ()
    of_pool: bool = False  # told by the worker in slot 0 for all, so without a label `worker`

    @property
    def combinations(self) -> Iterator[tuple[str, ...]]:
        """Label values. Requests are in the live lane alone."""
        for values in itertools.product(*self.labels.values()):
            named = dict(zip(self.labels, values, strict=True))
            if named.get("lane", LIVE) == LIVE or named.get("op") in WRITTEN:
                yield values

    @property
    def by_tenant(self) -> bool:
        return "tenant" in self.labels

    @property
    def width(self) -> int:
        """Numbers a combination: one, or of a histogram each bucket, the one above all edges, and the sum."""
        return len(self.edges) + 2 if self.kind == "histogram" else 1


MESSAGES = Instrument(
    "memq_messages",
    "counter",
    "Settled deliveries by outcome and lane",
    {"op": OPERATIONS, "outcome": OUTCOMES, "lane": LANES},
)
DURATION = Instrument(
    "memq_message_duration_seconds",
    "histogram",
    "Time from receipt of a delivery to its settlement",
    {"op": OPERATIONS},
    _SECONDS,
)
STAGE = Instrument(
    "memq_stage_duration_seconds",
    "histogram",
    "Parts of that time: decode, wait for the write or answer to begin, store (outages included), settle",
    {"op": OPERATIONS, "stage": STAGES},
    _SECONDS,
)
DELAY = Instrument(
    "memq_queue_delay_seconds",
    "histogram",
    "Time from the publisher's timestamp to settlement. memq's producers stamp milliseconds, others whole seconds",
    {"op": OPERATIONS, "lane": LANES},
    _DELAYS,
)
CLAMPED = Instrument(
    "memq_queue_delay_clamped", "counter", "Delays counted as 0 because the publisher's clock is ahead of the worker's"
)
BATCH_POINTS = Instrument("memq_batch_points", "histogram", "Points or ids in one write to the store", edges=_SIZES)
BATCH_MESSAGES = Instrument("memq_batch_messages", "histogram", "Messages in one write to the store", edges=_SIZES)
BATCHES = Instrument(
    "memq_batches",
    "counter",
    "Writes to the store by reason: idle (no write was in flight), full (a limit was reached), next (the write before "
    "finished), alone (a suspect, filter or payload change), split (half of a refused write), retry (in place)",
    {"reason": REASONS},
)
POINTS = Instrument(
    "memq_points", "counter", "Points or ids in applied writes", {"op": ("upsert", "delete", "payload", "vectors")}
)
INFLIGHT = Instrument(
    "memq_inflight_messages", "gauge", "Unacknowledged deliveries of a worker, by queue", {"queue": CONSUMED}
)
REDELIVERED = Instrument(
    "memq_redelivered_messages",
    "counter",
    "Settled deliveries that the broker had delivered before, by queue; looks at dead letters are not among them",
    {"queue": CONSUMED},
)
PREFETCH = Instrument("memq_prefetch_messages", "gauge", "Maximum number of unsettled deliveries", {"queue": CONSUMED})
STORE_CALLS = Instrument(
    "memq_store_calls", "counter", "Calls to Qdrant by result code", {"call": CALLS, "code": ("ok", *CODES)}
)
STORE_CALL_DURATION = Instrument(
    "memq_store_call_duration_seconds", "histogram", "Duration of a call to Qdrant", {"call": CALLS}, _SECONDS
)
REPLIES = Instrument(
    "memq_replies",
    "counter",
    "Replies by outcome. Undeliverable: the reply queue is gone. Refused: the reply address is not allowed",
    {"outcome": ("sent", "undeliverable", "refused")},
)
CLOCK_SKEWS = Instrument("memq_clock_skews", "counter", "Deadlines replaced because the clock of the sender is late")
RETRIES = Instrument(
    "memq_retries", "counter", "Copies published to a retry queue, by its delay in seconds", {"tier": TIERS}
)
DEAD_LETTERS = Instrument(
    "memq_dead_letters", "counter", "Copies that this worker published to the dead-letter queue", {"code": CODES}
)
REFUSALS = Instrument(
    "memq_refusals", "counter", "Messages dead-lettered or answered with an error, by code", {"code": CODES}
)
RECONNECTS = Instrument("memq_amqp_reconnects", "counter", "Reconnects to RabbitMQ after a loss")
BLOCKED = Instrument("memq_amqp_blocked", "gauge", "1 while RabbitMQ blocks publishing, in a resource alarm")
HELD = Instrument("memq_store_held", "gauge", "1 while the store is unavailable and writes are held")
HELD_SECONDS = Instrument("memq_store_held_seconds", "counter", "Time in which writes were held")
LAG = Instrument("memq_event_loop_lag_seconds", "gauge", "Maximum delay of the event loop in the last 10 seconds")
READY = Instrument("memq_ready", "gauge", "1 while connected, consuming, not held and not stopping")
QUEUE_MESSAGES = Instrument(
    "memq_queue_messages", "gauge", "Ready messages of a queue", {"queue": QUEUES}, of_pool=True
)
QUEUE_CONSUMERS = Instrument("memq_queue_consumers", "gauge", "Consumers of a queue", {"queue": QUEUES}, of_pool=True)
QUEUE_OLDEST = Instrument(
    "memq_queue_oldest_age_seconds",
    "gauge",
    "Age of the oldest ready message in seconds; 0 if the queue is empty. Approximate: write and query from the "
    "messages settled last, dead from a look at its head once a minute, a retry queue from the time in it",
    {"queue": QUEUES},
    of_pool=True,
)
TENANT_MESSAGES = Instrument(
    "memq_tenant_messages",
    "counter",
    "Settled deliveries of a tenant by outcome. The first 50 tenants of a worker have a series, others share `other`",
    {"tenant": TENANTS, "outcome": OUTCOMES},
)
TENANT_LIMITED = Instrument(
    "memq_tenant_limited",
    "counter",
    "Times that a tenant reached a limit: a request or write refused, or its lane paused for a rate",
    {"tenant": TENANTS, "limit": TENANT_LIMITS},
)
TENANT_DELAY = Instrument(
    "memq_tenant_queue_delay_seconds",
    "histogram",
    "Time from the publisher's timestamp to settlement of a tenant's writes",
    {"tenant": TENANTS},
    _DELAYS,
)
TENANT_QUEUE_MESSAGES = Instrument(
    "memq_tenant_queue_messages",
    "gauge",
    "Ready messages in a tenant's own lanes",
    {"tenant": TENANTS},
    of_pool=True,
)

CATALOGUE = (
    MESSAGES,
    DURATION,
    STAGE,
    DELAY,
    CLAMPED,
    BATCH_POINTS,
    BATCH_MESSAGES,
    BATCHES,
    POINTS,
    INFLIGHT,
    REDELIVERED,
    PREFETCH,
    STORE_CALLS,
    STORE_CALL_DURATION,
    REPLIES,
    CLOCK_SKEWS,
    RETRIES,
    DEAD_LETTERS,
    REFUSALS,
    RECONNECTS,
    BLOCKED,
    HELD,
    HELD_SECONDS,
    LAG,
    READY,
    QUEUE_MESSAGES,
    QUEUE_CONSUMERS,
    QUEUE_OLDEST,
    TENANT_MESSAGES,
    TENANT_LIMITED,
    TENANT_DELAY,
    TENANT_QUEUE_MESSAGES,
)

Place = tuple[str, tuple[str, ...]]


def _places() -> tuple[dict[Place, int], int]:
    places: dict[Place, int] = {}
    end = 0
    for instrument in CATALOGUE:
        for combination in instrument.combinations:
            places[instrument.name, combination] = end
            end += instrument.width
    return places, end


# Where each series has its numbers. A pool and its workers, being of one release, come to the same places.
PLACES, NUMBERS = _places()
FINGERPRINT = zlib.crc32(json.dumps([(*place, index) for place, index in PLACES.items()]).encode())
