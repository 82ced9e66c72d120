"""dramatiq: an actor on RabbitMQ, which it acknowledges after the actor returned; publishing confirmed."""

from __future__ import annotations

import signal
import sys
from typing import Any

import dramatiq
import shared
from dramatiq.brokers.rabbitmq import RabbitmqBroker

broker = RabbitmqBroker(url=shared.AMQP, confirm_delivery=True)
dramatiq.set_broker(broker)
qdrant = shared.client()


@dramatiq.actor(queue_name=shared.QUEUE, actor_name="upsert")
def upsert(points: list[dict[str, Any]]) -> None:
    qdrant.upsert(shared.COLLECTION, shared.structs(points), wait=True)


if sys.argv[1] == "fill":
    for points in shared.batches():
        upsert.send(points)
else:
    worker = dramatiq.Worker(broker, worker_threads=8)
    worker.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    worker.stop()
