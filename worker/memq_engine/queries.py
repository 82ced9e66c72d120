"""A QueryPoints with its prefetches as a request to the engine."""

import math
from array import array
from dataclasses import dataclass
from typing import Any

import qdrant_edge as edge

from .collection import Collection
from .convert import queries
from .convert.config import is_least_nearest
from .convert.filters import read_optional_filter
from .engine import Engine
from .inputs import Inputs, named_points
from .refusal import invalid, unserved
from .scoring import BEST_SCORE, every_point, is_average, read_scoring

# Each level is a request inside the engine's own recursion.
MAX_PREFETCH_DEPTH = 32
_MAX_FACTORED = 100_000  # hits of a prefetch, where it has more than were asked for


@dataclass(frozen=True)
class Search:
    request: edge.QueryRequest
    score: float | None = None
    """Overrides the score of every hit."""
    with_vectors: bool = True
    """False where the engine returns vectors that nobody asked for."""
    order: int = -1
    """Sign of scores in ascending order: 1 where the best is the least, 0 where scores do not order the hits."""


def read_search(
    engine: Engine,
    collection: Collection,
    request: Any,
    limit: int | None = None,
    *,
    chosen: edge.Filter | None = None,
    factor: int = 1,
) -> Search:
    """`limit` overrides the number of hits that the request asks for. Raises Refused.

    chosen: find points of this filter only. factor: multiplies the limits of prefetches.
    """
    if request.HasField("shard_key_selector"):
        raise unserved("shard_key_selector", "1.7")
    limit = queries.read_limit(request) if limit is None else limit
    reader = _Reader(engine, collection, named_points(engine, collection, request), factor)
    prefetches = [reader.prefetch(each, f"prefetch[{index}].", 1) for index, each in enumerate(request.prefetch)]
    if prefetches and not request.HasField("query"):
        reason = "A query is needed to merge the prefetches. Can't have prefetches without defining a query."
        raise invalid(f"Bad request: {reason}")
    scoring, is_nan = reader.scoring(request, limit)
    threshold = _threshold(request, scoring)
    with_vector = queries.read_vectors_selector(request)
    asked = edge.QueryRequest(
        limit=limit,
        offset=getattr(request, "offset", 0),
        query=scoring,
        prefetches=prefetches,
        filter=_both(reader.filter(request), chosen),
        params=queries.read_search_params(request),
        score_threshold=threshold,
        with_payload=queries.read_payload_selector(request),
        with_vector=with_vector,
    )
    return Search(
        asked,
        math.nan if is_nan else None,
        with_vectors=with_vector is not False,
        order=_order(collection, request),
    )


def _threshold(request: Any, scoring: Any) -> float | None:
    threshold = queries.read_threshold(request)
    if threshold is None:
        return None
    if scoring is None:
        reason = "A query is needed to use the score_threshold. Can't have score_threshold without defining a query."
        raise invalid(f"Bad request: {reason}")
    if isinstance(scoring, edge.OrderBy):
        raise invalid("Bad request: Can't use score_threshold with an order_by query.")
    return threshold


def _both(first: edge.Filter | None, second: edge.Filter | None) -> edge.Filter | None:
    if first is None or second is None:
        return first or second
    return edge.Filter(must=[first, second])


def _order(collection: Collection, request: Any) -> int:
    kind = request.query.WhichOneof("variant")
    if kind == "nearest_with_mmr":
        return 0
    is_near = kind == "nearest" or (kind == "recommend" and is_average(request.query.recommend))
    return 1 if is_near and is_least_nearest(collection.created_with, request.using) else -1


def _is_nan(message: Any, inputs: Inputs) -> bool:
    """Return True for a query whose scores are all NaN: near a NaN, or by the best of no examples."""
    vector: Any = inputs.last
    if message.WhichOneof("variant") == "recommend":
        return vector is None and message.recommend.strategy == BEST_SCORE
    return message.WhichOneof("variant") == "nearest" and type(vector) is array and queries.has_nan(vector)


@dataclass(frozen=True)
class _Reader:
    """Reads the parts of one request. factor: multiplies the limits of prefetches."""

    engine: Engine
    collection: Collection
    named: set[int | str]
    factor: int

    def filter(self, message: Any) -> edge.Filter | None:
        return queries.leaving_out(read_optional_filter(message), self.named)

    def scoring(self, message: Any, limit: int) -> tuple[Any, bool]:
        """Return the engine's query, and True if its scores stand for NaN."""
        if not message.HasField("query"):
            return None, False
        inputs = Inputs(self.engine, self.collection, message)
        found = read_scoring(message.query, inputs, limit)
        # A server then finds every point with the vector, and none with a threshold; the engine finds none.
        if message.HasField("score_threshold") or not _is_nan(message.query, inputs):
            return found, False
        return every_point(inputs), True

    def prefetch(self, message: Any, path: str, depth: int) -> edge.Prefetch:
        if depth > MAX_PREFETCH_DEPTH:
            raise invalid(f"Bad request: prefetches nested more than {MAX_PREFETCH_DEPTH} levels deep")
        limit = queries.read_limit(message, path=path)
        limit = max(limit, min(limit * self.factor, _MAX_FACTORED))
        inner = [
            self.prefetch(each, f"{path}prefetch[{index}].", depth + 1) for index, each in enumerate(message.prefetch)
        ]
        scoring, _ = self.scoring(message, limit)
        return edge.Prefetch(
            limit=limit,
            query=scoring,
            prefetches=inner,
            params=queries.read_search_params(message),
            filter=self.filter(message),
            score_threshold=_threshold(message, scoring),
        )
