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
from .inputs import Inputs
from .refusal import invalid, unserved
from .scoring import read_scoring

# Each level is a request inside the engine's own recursion.
MAX_PREFETCH_DEPTH = 32


@dataclass(frozen=True)
class Search:
    request: edge.QueryRequest
    score: float | None = None
    """Overrides the score of every hit."""
    with_vectors: bool = True
    """False where the engine returns vectors that nobody asked for."""


def read_search(engine: Engine, collection: Collection, request: Any, limit: int | None = None) -> Search:
    """`limit` overrides the number of hits that the request asks for. Raises Refused."""
    if request.HasField("shard_key_selector"):
        raise unserved("shard_key_selector", "1.7")
    limit = queries.read_limit(request) if limit is None else limit
    prefetches = [
        _prefetch(engine, collection, each, f"prefetch[{index}].", 1) for index, each in enumerate(request.prefetch)
    ]
    if prefetches and not request.HasField("query"):
        reason = "A query is needed to merge the prefetches. Can't have prefetches without defining a query."
        raise invalid(f"Bad request: {reason}")
    scoring, inputs = _scoring(engine, collection, request, limit)
    threshold = queries.read_threshold(request)
    if threshold is not None and isinstance(scoring, edge.OrderBy):
        raise invalid("Bad request: Can't use score_threshold with an order_by query.")
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
        filter=queries.leaving_out(read_optional_filter(request), inputs.used),
        params=queries.read_search_params(request),
        score_threshold=threshold,
        with_payload=queries.read_payload_selector(request),
        with_vector=with_vector,
    )
    return Search(asked, score, with_vectors=with_vector is not False)


def _scoring(engine: Engine, collection: Collection, request: Any, limit: int) -> tuple[Any, Inputs]:
    inputs = Inputs(engine, collection, request)
    return (read_scoring(request.query, inputs, limit) if request.HasField("query") else None), inputs


def _is_nan(request: Any, inputs: Inputs) -> bool:
    """Return True for a search near a dense vector with a NaN in it."""
    if request.query.WhichOneof("variant") != "nearest":
        return False
    vector: Any = inputs.last
    return type(vector) is array and queries.has_nan(vector)


def _prefetch(engine: Engine, collection: Collection, message: Any, path: str, depth: int) -> edge.Prefetch:
    if depth > MAX_PREFETCH_DEPTH:
        raise invalid(f"Bad request: prefetches nested more than {MAX_PREFETCH_DEPTH} levels deep")
    limit = queries.read_limit(message, path=path)
    inner = [
        _prefetch(engine, collection, each, f"{path}prefetch[{index}].", depth + 1)
        for index, each in enumerate(message.prefetch)
    ]
    scoring, inputs = _scoring(engine, collection, message, limit)
    return edge.Prefetch(
        limit=limit,
        query=scoring,
        prefetches=inner,
        params=queries.read_search_params(message),
        filter=queries.leaving_out(read_optional_filter(message), inputs.used),
        score_threshold=queries.read_threshold(message),
    )
