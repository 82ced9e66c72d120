from dataclasses import dataclass, field

from memq_schemas import Names
from memq_worker.pipeline.batch import BatchLimits
from memq_worker.pipeline.decode.bodies import Limits
from memq_worker.pipeline.outcome import RetryPolicy
from memq_worker.pipeline.reply_to import ReplyTo
from memq_worker.pipeline.settle import ReplyOptions
from memq_worker.pipeline.window import HeldLimits


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    names: Names
    worker: str
    limits: Limits
    batches: BatchLimits
    retries: RetryPolicy
    writes_in_flight: int
    store_writes: int
    request_timeout_seconds: float
    reply_to: ReplyTo
    held: HeldLimits = HeldLimits()  # noqa: RUF009  (frozen)
    replies: ReplyOptions = field(default_factory=ReplyOptions)
    broker_timestamp: bool = False
    bulk_weight: float = 1.0  # share of the store of a bulk lane, relative to the live lane of the same sender
