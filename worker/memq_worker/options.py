"""Options of the parts of a worker, from its settings."""

import math

from memq_worker.amqp.session_options import SessionOptions
from memq_worker.pipeline.batch import BatchLimits
from memq_worker.pipeline.decode.bodies import Limits
from memq_worker.pipeline.options import PipelineOptions
from memq_worker.pipeline.outcome import RetryPolicy
from memq_worker.pipeline.reply_to import ReplyTo
from memq_worker.pipeline.settle import ReplyOptions
from memq_worker.pipeline.turns import Turns
from memq_worker.pipeline.window import HeldLimits
from memq_worker.settings import Settings

_TENANTS_REQUESTS = 16  # times the operator's: what a tenant alone cannot fill
_LARGE_REQUESTS = 4  # of the maximum size that all tenants together may have unanswered


def pipeline_options(settings: Settings) -> PipelineOptions:
    return PipelineOptions(
        names=settings.topology.names,
        worker=settings.worker_name,
        limits=Limits(settings.max_body_bytes, settings.max_points),
        # Half of the prefetch window stays free for other collections while one write is in flight.
        batches=BatchLimits(
            settings.batch_points,
            settings.batch_bytes,
            math.inf if settings.order == "strict" else max(1, settings.prefetch // 2),
        ),
        retries=RetryPolicy(settings.max_attempts, in_place=settings.order == "strict"),
        writes_in_flight=settings.writes_in_flight,
        store_writes=settings.store_writes,
        request_timeout_seconds=settings.store_timeout_seconds,
        reply_to=ReplyTo(settings.topology.names, any_queue=settings.reply_to == "any"),
        held=HeldLimits(
            None if settings.order == "strict" else max(1, settings.prefetch // 4),
            settings.prefetch_bytes / 4,
            settings.consumer_timeout_seconds / 2,
        ),
        broker_timestamp=settings.broker_timestamp,
        bulk_weight=settings.bulk_weight,
        replies=ReplyOptions(settings.max_reply_bytes, settings.reply_ttl_seconds),
    )


def session_options(settings: Settings) -> SessionOptions:
    return SessionOptions(
        topology=settings.topology,
        declare=settings.declare,
        prefetch=settings.prefetch,
        request_prefetch=settings.request_prefetch,
        tenants_request_prefetch=settings.request_prefetch * _TENANTS_REQUESTS,
        timeout_seconds=settings.amqp_timeout_seconds,
        # A consumer that begins anew gives its place away where one at a time consumes, and the order with it.
        prefetch_bytes=None if settings.order == "strict" else settings.prefetch_bytes,
    )


def turns(settings: Settings) -> Turns:
    return Turns(
        settings.request_prefetch,
        settings.request_prefetch * _TENANTS_REQUESTS,
        settings.max_body_bytes * _LARGE_REQUESTS,
    )
