import math
from typing import Any

import qdrant_edge as edge

from ..refusal import from_engine, invalid, invalid_field, unserved

DEFAULT_LIMIT = 10
# The engine reserves room for as many hits as it is asked for.
_MAX_LIMIT = 2**31


def read_limit(request: Any, field: str = "limit", default: int = DEFAULT_LIMIT, path: str = "") -> int:
    if not request.HasField(field):
        return default
    limit: int = getattr(request, field)
    if limit == 0:
        raise invalid_field(f"{path}{field}", "value 0 invalid, must be 1 or larger")
    return min(limit, _MAX_LIMIT)


def read_payload_selector(request: Any, *, default: bool = False) -> Any:
    if not request.HasField("with_payload"):
        return default
    selector = request.with_payload
    match selector.WhichOneof("selector_options"):
        case "include":
            # The engine reports a bad path only when it reads the request.
            return _checked(edge.PayloadSelector.Include, list(selector.include.fields))
        case "exclude":
            return _checked(edge.PayloadSelector.Exclude, list(selector.exclude.fields))
        case "enable":
            return selector.enable
        case _:
            raise invalid("No PayloadSelector")


def _checked(kind: Any, fields: list[str]) -> Any:
    try:
        return kind(fields)
    except (ValueError, TypeError) as error:
        raise from_engine(error) from error


def read_vectors_selector(request: Any) -> Any:
    selector = request.with_vectors
    if selector.WhichOneof("selector_options") == "include":
        return list(selector.include.names)
    return selector.enable


def has_nan(vector: Any) -> bool:
    # An infinite sum is no proof of a NaN, so only the rare doubtful vector is looked at element by element.
    return not math.isfinite(sum(vector)) and any(math.isnan(each) for each in vector)


def read_search_params(request: Any) -> edge.SearchParams | None:
    if not request.HasField("params"):
        return None
    given: dict[str, Any] = {}
    for descriptor, value in request.params.ListFields():
        name = descriptor.name
        if name in ("hnsw_ef", "exact", "indexed_only"):
            given[name] = value
        elif name == "quantization":
            given[name] = _quantization(value)
        elif name == "acorn":
            given[name] = _acorn(value)
        else:
            raise unserved(f"params.{name}", "1.19")
    return edge.SearchParams(**given)


def _quantization(message: Any) -> edge.QuantizationSearchParams:
    given = {descriptor.name: value for descriptor, value in message.ListFields()}
    oversampling = given.get("oversampling")
    if oversampling is not None and oversampling < 1:
        problem = f"value {oversampling} invalid, must be 1.0 or larger"
        raise invalid_field("params.quantization.oversampling", problem)
    return edge.QuantizationSearchParams(**given)


def _acorn(message: Any) -> edge.AcornSearchParams:
    given = {descriptor.name: value for descriptor, value in message.ListFields()}
    selectivity = given.get("max_selectivity")
    if selectivity is not None and not 0 <= selectivity <= 1:
        problem = f"value {selectivity} invalid, must be from 0.0 to 1.0"
        raise invalid_field("params.acorn.max_selectivity", problem)
    return edge.AcornSearchParams(**given)


def read_threshold(request: Any) -> float | None:
    return request.score_threshold if request.HasField("score_threshold") else None


def leaving_out(found: edge.Filter | None, ids: set[int | str]) -> edge.Filter | None:
    """Return the filter that leaves out the points a query starts from."""
    if not ids:
        return found
    return edge.Filter(must=None if found is None else [found], must_not=[edge.HasIdCondition(set(ids))])
