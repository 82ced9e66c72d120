from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from memq_schemas import ErrorCode, Operation

OUTCOMES = (
    "applied",
    "superseded",
    "answered",
    "refused",
    "retried",
    "dead_lettered",
    "expired",
    "released",
)

# 0.2 s is an objective, so it is an edge.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)


class Metrics:
    """pipeline.observer.Observer over prometheus_client. Every label combination exists from the start."""

    def __init__(self) -> None:
        # They double the series and no query of ours asks when a counter was made.
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        operations = [operation.value for operation in Operation] + ["unknown"]
        self._messages = Counter(
            "memq_messages", "Deliveries settled, by how they ended", ["op", "outcome"], registry=self.registry
        )
        self._duration = Histogram(
            "memq_message_duration_seconds",
            "From receipt of a delivery to its settlement",
            ["op"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._errors = Counter(
            "memq_errors", "Deliveries refused, retried or dead-lettered, by code", ["code"], registry=self.registry
        )
        self._points = Counter("memq_points", "Points, or ids, that writes have taken", registry=self.registry)
        self._batch = Histogram("memq_batch_points", "Points in one write", buckets=_SIZES, registry=self.registry)
        self._write = Histogram(
            "memq_store_write_seconds", "One write, waiting out outages", buckets=_SECONDS, registry=self.registry
        )
        self._request = Histogram(
            "memq_store_request_seconds", "One request to the store", ["op"], buckets=_SECONDS, registry=self.registry
        )
        self._replies = Counter("memq_replies", "Replies, by what became of them", ["outcome"], registry=self.registry)
        self._held = Gauge("memq_store_held", "1 while the store is away and writes wait", registry=self.registry)
        self._ready = Gauge("memq_ready", "1 while connected and consuming", registry=self.registry)
        self._reconnects = Counter("memq_amqp_reconnects", "Connections to RabbitMQ made again", registry=self.registry)
        Info("memq_build", "What is running", registry=self.registry).info({"version": version("memq")})
        for operation in operations:
            self._duration.labels(operation)
            self._request.labels(operation)
            for outcome in OUTCOMES:
                self._messages.labels(operation, outcome)
        for code in ErrorCode:
            self._errors.labels(code.value)
        for outcome in ("sent", "undeliverable", "refused"):
            self._replies.labels(outcome)

    def settled(self, operation: str, outcome: str, seconds: float, code: str = "") -> None:
        self._messages.labels(operation, outcome).inc()
        self._duration.labels(operation).observe(seconds)
        if code:
            self._errors.labels(code).inc()

    def wrote(self, points: int, messages: int, seconds: float) -> None:
        self._points.inc(points)
        self._batch.observe(points)
        self._write.observe(seconds)

    def requested(self, operation: str, seconds: float) -> None:
        self._request.labels(operation).observe(seconds)

    def replied(self, outcome: str) -> None:
        self._replies.labels(outcome).inc()

    def held(self, held: bool) -> None:
        self._held.set(held)

    def ready(self, ready: bool) -> None:
        self._ready.set(ready)

    def reconnected(self) -> None:
        self._reconnects.inc()


@contextmanager
def served(metrics: Metrics, host: str, port: int) -> Generator[None]:
    """The /metrics endpoint, on a thread of its own so that it answers while the loop is busy. Raises OSError."""
    server, thread = start_http_server(port, addr=host, registry=metrics.registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
