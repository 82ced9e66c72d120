from collections.abc import Iterable
from typing import Any

import qdrant_edge as edge

from .ids import write_id
from .values import write_payload
from .vectors import write_vectors


def write_hits(result: Any, hits: Iterable[edge.ScoredPoint], score: float | None = None) -> None:
    for hit in hits:
        point = result.add(score=hit.score if score is None else score, version=hit.version)
        _write_point(point, hit)


def write_records(result: Any, records: Iterable[edge.Record]) -> None:
    for record in records:
        _write_point(result.add(), record)


def _write_point(point: Any, found: edge.ScoredPoint | edge.Record) -> None:
    write_id(point.id, found.id)
    write_payload(point.payload, found.payload)
    write_vectors(point, found.vector)
