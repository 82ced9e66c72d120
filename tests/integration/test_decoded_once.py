"""The vectors of a query and the deadline of a message are read once on their way through a worker."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import struct
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from memq_schemas.multivectors import to_matrix
from memq_schemas.sparse_vectors import sparse_arrays
from memq_schemas.vectors import to_array
from memq_worker.environment import load
from memq_worker.pipeline.delivery import epoch_seconds
from memq_worker.service import serve
from tests.support.wire import caller
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from types import FrameType

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

DECODERS = {each.__code__ for each in (to_array, to_matrix, sparse_arrays)}
DEADLINE = epoch_seconds.__code__

DENSE, ROWS, SPARSE = [1.0, 0.0], [[1.0, 0.0], [0.0, 1.0]], {"indices": [9], "values": [2.0]}


def text(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


QUERIES: list[tuple[int, dict[str, Any]]] = [  # how many vectors each has, and its body
    (1, {"vector": DENSE}),
    (1, {"vector": text(DENSE)}),
    (1, {"vector": ROWS, "using": "m"}),
    (1, {"vector": [text(row) for row in ROWS], "using": "m"}),
    (1, {"vector": SPARSE, "using": "s"}),
    (1, {"query": DENSE}),
    (1, {"query": {"nearest": text(DENSE)}}),
    (1, {"query": ROWS, "using": "m"}),
    (1, {"query": {"nearest": SPARSE}, "using": "s"}),
    (3, {"query": {"recommend": {"positive": [DENSE, text(DENSE)], "negative": [DENSE]}}}),
    (2, {"query": {"fusion": "rrf"}, "prefetch": [{"query": SPARSE, "using": "s"}, {"query": DENSE}]}),
]


class Readings:
    """A profile function that counts decoded vectors, unless one decoder calls another, and read deadlines."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        if frame.f_code is DEADLINE:
            self.counts["deadlines"] += 1
        elif frame.f_code in DECODERS and (frame.f_back is None or frame.f_back.f_code not in DECODERS):
            self.counts["vectors"] += 1


def test_vectors_of_queries_and_deadlines_are_read_once(amqp: Address, engine: EmbeddedEngine) -> None:
    settings: dict[str, Any] = {"qdrant_url": engine.url, "metrics_port": "0"}
    dense = {"size": 2, "distance": "dot"}
    vectors = {"": dense, "m": dense | {"multivector_config": {}}}
    point = {"id": 1, "vector": {"": DENSE, "m": ROWS, "s": SPARSE}}
    with running_worker(amqp, **settings), caller(amqp.url, amqp.prefix) as client:
        assert client.ask("collections.create.docs", {"vectors": vectors, "sparse_vectors": {"s": {}}})["status"] == 200
        assert client.write("upsert.docs", {"points": [point]})["status"] == 200
    replies: list[dict[str, Any]] = []

    def drive() -> None:
        try:
            with caller(amqp.url, amqp.prefix) as client:
                replies.extend(client.ask("query.docs", body) for _, body in QUERIES)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    readings = Readings()
    driving = threading.Thread(target=drive)
    driving.start()
    sys.setprofile(readings)
    try:
        asyncio.run(serve(load({"amqp_url": amqp.url, "prefix": amqp.prefix, **settings})))
    finally:
        sys.setprofile(None)
        driving.join()
    assert [reply["status"] for reply in replies] == [200] * len(QUERIES)
    assert all(reply["result"] for reply in replies)
    assert readings.counts == {"deadlines": len(QUERIES), "vectors": sum(count for count, _ in QUERIES)}
