"""A QueryPoints with its prefetches as a request to the engine."""

import math
from array import array
from dataclasses import dataclass
from typing import Any

import qdrant_edge as edge

from .collection import Collection
from .convert import queries
from .convert.filters import read_optional_filter
from .engine import Engine
from .inputs import Inputs, named_points
from .refusal import from_engine, invalid, unserved
from .scoring import read_scoring

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


def read_search(
    engine: Engine,
    collection: Collection,
    request: Any,
    limit: int | None = None,
    *,
    group_by: str = "",
    factor: int = 1,
) -> Search:
    """`limit` overrides the number of hits that the request asks for. Raises Refused.

    group_by: find points with a value at this path only. factor: multiplies the limits of prefetches.
    """
    if request.HasField("shard_key_selector"):
        raise unserved("shard_key_selector", "1.7")
    limit = queries.read_limit(request) if limit is None else limit
    reader = _Reader(engine, collection, named_points(engine, collection, request), factor)
    prefetches = [reader.prefetch(each, f"prefetch[{index}].", 1) for index, each in enumerate(request.prefetch)]
    if prefetches and not request.HasField("query"):
        reason = "A query is needed to merge the prefetches. Can't have prefetches without defining a query."
        raise invalid(f"Bad request: {reason}")
    scoring, inputs = reader.scoring(request, limit)
    threshold = _threshold(request, scoring)
    score = None
    if not prefetches and _is_nan(request, inputs):
        # A server answers with every point at score NaN, the engine with nothing.
        scoring, score = None, math.nan
    with_vector = queries.read_vectors_selector(request)
    asked = edge.QueryRequest(
        limit=limit,
        offset=getattr(request, "offset", 0),
        query=scoring,
        prefetches=prefetches,
        filter=_with_value(reader.filter(request), group_by),
        params=queries.read_search_params(request),
        score_threshold=threshold,
        with_payload=queries.read_payload_selector(request),
        with_vector=with_vector,
    )
    return Search(asked, score, with_vectors=with_vector is not False)


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


def _with_value(found: edge.Filter | None, path: str) -> edge.Filter | None:
    """Return the filter for the points that have a value at the path too, if there is a path."""
    if not path:
        return found
    try:
        empty = edge.IsEmptyCondition(path)
    except (ValueError, TypeError) as error:
        raise from_engine(error) from error
    return edge.Filter(must=None if found is None else [found], must_not=[empty])


def _is_nan(request: Any, inputs: Inputs) -> bool:
    """Return True for a search near a dense vector with a NaN in it."""
    if request.query.WhichOneof("variant") != "nearest":
        return False
    vector: Any = inputs.last
    return type(vector) is array and queries.has_nan(vector)


@dataclass(frozen=True)
class _Reader:
    """Reads the parts of one request. factor: multiplies the limits of prefetches."""

    engine: Engine
    collection: Collection
    named: set[int | str]
    factor: int

    def filter(self, message: Any) -> edge.Filter | None:
        return queries.leaving_out(read_optional_filter(message), self.named)

    def scoring(self, message: Any, limit: int) -> tuple[Any, Inputs]:
        inputs = Inputs(self.engine, self.collection, message)
        return (read_scoring(message.query, inputs, limit) if message.HasField("query") else None), inputs

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
