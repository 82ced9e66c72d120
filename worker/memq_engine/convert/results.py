from collections.abc import Iterable
from typing import Any

import qdrant_edge as edge

from .ids import write_id
from .values import write_payload
from .vectors import write_vectors


def write_hits(
    result: Any, hits: Iterable[edge.ScoredPoint], score: float | None = None, *, with_vectors: bool = True
) -> None:
    """Write hits with their own score, or with `score` in its place."""
    for hit in hits:
        point = result.add(score=hit.score if score is None else score, version=hit.version)
        _write_point(point, hit, with_vectors)


def write_records(result: Any, records: Iterable[edge.Record]) -> None:
    for record in records:
        _write_point(result.add(), record, True)


def _write_point(point: Any, found: edge.ScoredPoint | edge.Record, with_vectors: bool) -> None:
    write_id(point.id, found.id)
    write_payload(point.payload, found.payload)
    if with_vectors:
        write_vectors(point, found.vector)
    value = found.order_value
    if value is not None:
        if isinstance(value, int):
            point.order_value.int = value
        else:
            point.order_value.float = value
