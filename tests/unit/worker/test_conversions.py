"""Filters, parameters, payloads and formulas as qdrant-client itself converts them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import grpc
from qdrant_client.conversions.conversion import RestToGrpc, grpc_to_payload, payload_to_grpc
from qdrant_client.http import models

from memq_schemas import Filter
from memq_schemas.searches import Formula, Params
from memq_worker.qdrant.filters import where
from memq_worker.qdrant.formulas import formula_of
from memq_worker.qdrant.searches import params_of, query_of
from memq_worker.qdrant.values import from_values, to_values
from tests.unit.schemas.strategies import FILTERS, FLOATS, I64, TEXT

_VALUES = st.recursive(
    st.none() | st.booleans() | I64 | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
_PAYLOADS = st.dictionaries(TEXT, _VALUES, max_size=4)


def reference(filter: Filter) -> Any:
    fields = filter.model_dump(exclude_none=True, by_alias=True)
    return RestToGrpc.convert_filter(models.Filter.model_validate(fields))


@given(FILTERS)
def test_filters(body: dict[str, Any]):
    asked = Filter.model_validate(body)
    assert where(asked) == reference(asked)


@pytest.mark.parametrize(
    "time",
    [
        "2024-02-29",
        "0001-01-01",
        "9999-12-31",
        "2024-01-31T23:59:59.9999999Z",
        "2024-01-31t12:00:00z",
        "2024-01-31 12:00:00.5",
        "1969-12-31T23:59:59.000001-11:30",
        "2024-01-31T00:00:00+05:45",
        "2024-01-31T00:00:00.123456789-00:00",
    ],
)
def test_date_times_of_filters(time: str):
    asked = Filter.model_validate({"must": {"key": "a", "range": {"gte": time}}})
    assert where(asked) == reference(asked)


@pytest.mark.parametrize("flag", ["is_empty", "is_null"])
@pytest.mark.parametrize("value", [True, False])
def test_tests_of_emptiness(flag: str, value: bool):
    asked = Filter.model_validate({"must_not": [{"key": "a", flag: value}]})
    assert where(asked) == reference(asked)
    made: Any = where(asked)
    (condition,) = made.must_not
    assert condition.field.HasField(flag)


_FLAGS = st.booleans()
_PARAMS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "hnsw_ef": st.integers(0, 2**31 - 1),
        "exact": _FLAGS,
        "indexed_only": _FLAGS,
        "quantization": st.fixed_dictionaries(
            {}, optional={"ignore": _FLAGS, "rescore": _FLAGS, "oversampling": st.floats(1, 100)}
        ),
        "acorn": st.fixed_dictionaries({}, optional={"enable": _FLAGS, "max_selectivity": st.floats(0, 1)}),
    },
)


def _without_false(fields: dict[str, Any]) -> dict[str, Any]:
    """The client's models write out flags that are false, as the server has them where they are absent."""
    inner = {key: _without_false(value) if isinstance(value, dict) else value for key, value in fields.items()}
    return {key: value for key, value in inner.items() if value is not False}


@given(_PARAMS)
def test_parameters_of_searches(body: dict[str, Any]):
    made: Any = params_of(Params.model_validate(body))
    expected = RestToGrpc.convert_search_params(models.SearchParams.model_validate(body))
    assert _without_false(MessageToDict(made)) == _without_false(MessageToDict(expected))
    for flag in ("exact", "indexed_only"):
        assert not made.HasField(flag) or getattr(made, flag) is body[flag]


@given(_PAYLOADS)
def test_payloads(payload: dict[str, Any]):
    stored = grpc.PointStruct(payload=to_values(payload))
    assert stored == grpc.PointStruct(payload=payload_to_grpc(payload))
    assert from_values(stored.payload) == grpc_to_payload(stored.payload) == payload
    kinds = [type(value) for value in payload.values()]
    assert [type(from_values(stored.payload)[key]) for key in payload] == kinds


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, [2**70], {"a": {"b": 2**64}}])
def test_integers_beyond_64_bits_are_refused(value: Any):
    with pytest.raises(ValueError, match="Value out of range"):
        grpc.PointStruct(payload=to_values({"n": value}))


def test_formulas():
    body: dict[str, Any] = {
        "formula": {"sum": ["$score", {"mult": [0.5, {"key": "kind", "match": {"value": "a"}}]}]},
        "defaults": {"price": 1.5},
    }
    made: Any = query_of(Formula.model_validate(body)).formula
    assert made == formula_of(Formula.model_validate(body))
    assert made == RestToGrpc.convert_formula_query(models.FormulaQuery.model_validate(body))
    assert made.expression.sum.sum[1].mult.mult[1].condition.field.match.keyword == "a"
