"""Celery: late acknowledgement, requeued when a worker process is lost, a quorum queue, confirmed publishing."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

import shared
from celery import Celery

app = Celery("celery_peer", broker=shared.AMQP)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_default_queue=shared.QUEUE,
    task_default_queue_type="quorum",
    task_ignore_result=True,
    worker_detect_quorum_queues=True,
    worker_prefetch_multiplier=max(1, shared.PREFETCH // 2),
    worker_concurrency=2,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
)
# One a process: prefork children must not share a channel that was opened before the fork.
qdrant = functools.cache(lambda pid: shared.client())


@app.task(name="upsert")
def upsert(points: list[dict[str, Any]]) -> None:
    qdrant(os.getpid()).upsert(shared.COLLECTION, shared.structs(points), wait=True)


if sys.argv[1] == "fill":
    for points in shared.batches():
        upsert.apply_async((points,))
else:
    app.worker_main(["worker", "--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"])
