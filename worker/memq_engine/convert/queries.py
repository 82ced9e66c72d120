import math
from typing import Any

import qdrant_edge as edge

from ..refusal import invalid_field, unserved
from .filters import read_optional_filter
from .ids import read_id
from .vectors import floats

DEFAULT_LIMIT = 10


def read_limit(request: Any) -> int:
    if not request.HasField("limit"):
        return DEFAULT_LIMIT
    if request.limit == 0:
        raise invalid_field("limit", "value 0 invalid, must be 1 or larger")
    # The engine reserves room for as many hits as it is asked for.
    return min(request.limit, 2**31)


def read_payload_selector(request: Any) -> Any:
    selector = request.with_payload
    match selector.WhichOneof("selector_options"):
        case "include":
            return list(selector.include.fields)
        case "exclude":
            return edge.PayloadSelector.Exclude(list(selector.exclude.fields))
        case _:
            return selector.enable


def read_vectors_selector(request: Any) -> Any:
    selector = request.with_vectors
    if selector.WhichOneof("selector_options") == "include":
        return list(selector.include.names)
    return selector.enable


def read_query_target(request: Any) -> Any:
    """The vector to search near, the id of a point to search near, or None for no query at all."""
    for field in ("prefetch", "lookup_from", "shard_key_selector"):
        if _is_given(request, field):
            raise unserved(f"Query with {field}")
    if not request.HasField("query"):
        return None
    kind = request.query.WhichOneof("variant")
    if kind != "nearest":
        raise unserved(f"A query of kind {kind}")
    target = request.query.nearest
    match target.WhichOneof("variant"):
        case "dense":
            return floats(target.dense)
        case "id":
            return read_id(target.id)
        case other:
            raise unserved(f"Nearest to {other}")


def _is_given(request: Any, field: str) -> bool:
    return bool(request.prefetch) if field == "prefetch" else request.HasField(field)


def has_nan(vector: Any) -> bool:
    # An infinite sum is no proof of a NaN, so only the rare doubtful vector is looked at element by element.
    return not math.isfinite(sum(vector)) and any(math.isnan(each) for each in vector)


def read_search_params(request: Any) -> edge.SearchParams | None:
    if not request.HasField("params"):
        return None
    given: dict[str, Any] = {}
    for descriptor, value in request.params.ListFields():
        name = descriptor.name
        if name not in ("hnsw_ef", "exact", "indexed_only"):
            raise unserved(f"Query with params.{name}")
        given[name] = value
    return edge.SearchParams(**given)


def read_query(request: Any, query: edge.Query | None, near: int | str | None) -> edge.QueryRequest:
    """`near` is the point whose vector `query` holds: it is left out of its own neighbours."""
    found = read_optional_filter(request)
    if near is not None:
        found = edge.Filter(must=None if found is None else [found], must_not=[edge.HasIdCondition({near})])
    return edge.QueryRequest(
        limit=read_limit(request),
        offset=request.offset,
        query=query,
        filter=found,
        params=read_search_params(request),
        score_threshold=request.score_threshold if request.HasField("score_threshold") else None,
        with_payload=read_payload_selector(request),
        with_vector=read_vectors_selector(request),
    )


def read_scroll(request: Any) -> edge.ScrollRequest:
    for field in ("order_by", "shard_key_selector"):
        if request.HasField(field):
            raise unserved(f"Scroll with {field}")
    return edge.ScrollRequest(
        offset=read_id(request.offset) if request.HasField("offset") else None,
        limit=read_limit(request),
        filter=read_optional_filter(request),
        with_payload=read_payload_selector(request),
        with_vector=read_vectors_selector(request),
    )
