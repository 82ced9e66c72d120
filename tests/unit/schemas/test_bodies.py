from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from memq_schemas import (
    Count,
    CreateCollection,
    Delete,
    Distance,
    ErrorCode,
    Get,
    Query,
    SetPayload,
    UpdateCollection,
    Upsert,
    VectorParams,
    error_reply,
)
from memq_schemas.collections import Empty
from memq_schemas.model import Model
from schemas.operations import OPERATIONS
from schemas.wire_operation import WireOperation
from tests.unit.schemas.strategies import JSON_VALUES

UUID = "3AEC9F96379F553D9ACB30DE5460498C"


def upsert(**fields: Any) -> dict[str, Any]:
    return {"points": [{"id": 1, "vector": [1.0]} | fields]}


def query(**fields: Any) -> dict[str, Any]:
    return {"vector": [1.0]} | fields


ACCEPTED: list[tuple[type[Model], dict[str, Any]]] = [
    (Upsert, upsert()),
    (Upsert, upsert(vector=[1, 2])),
    (Upsert, upsert(id=2**64 - 1, vector="AACAPw==", version=0)),
    (Upsert, upsert(id=UUID, payload={"a": [None, {"b": 1.5}]}, version=2**53 - 1)),
    (Upsert, upsert(vector={"": [1.0], "text": "AACAPw=="}, payload=None, version=None)),
    (Upsert, upsert(payload={"a": {"_version": 1}})),
    (Delete, {"ids": [1, UUID]}),
    (Delete, {"filter": {"must_not": [{"has_id": [1]}]}, "ids": None}),
    (Delete, {"ids": [1], "version": 0}),
    (Delete, {"filter": {"must": [{"has_id": [1]}]}, "version": None}),
    (SetPayload, {"ids": [1], "set": {}}),
    (SetPayload, {"ids": [1], "overwrite": {}, "set": {"a": 1}, "unset": ["b.c"]}),
    (SetPayload, {"ids": [1], "unset": ["_versions", "a._version"]}),
    (Query, query(vector="AACAPw==", limit=10_000, offset=0, with_payload=["a"], with_vector=True, using="text")),
    (Query, query(filter={}, score_threshold=-1, with_payload=False)),
    (Get, {"ids": [1]}),
    (Count, {}),
    (Count, {"filter": None}),
    (CreateCollection, {"size": 65_536}),
    (CreateCollection, {"size": 1, "distance": "Cosine", "exist_ok": True}),
    (CreateCollection, {"vectors": {"a": {"size": 1, "distance": "DOT"}}}),
    (CreateCollection, {"size": 1, "sparse_vectors": {"s": {"modifier": "idf", "index": {"datatype": "uint8"}}}}),
    (
        CreateCollection,
        {"sparse_vectors": {"s": {}}, "strict_mode_config": {"sparse_config": {"s": {"max_length": 9}}}},
    ),
    (
        CreateCollection,
        {"vectors": {"": {"size": 1}, "m": {"size": 2, "multivector_config": {}}}, "metadata": {"a": [1]}},
    ),
    (CreateCollection, {"size": 1, "quantization_config": {"turbo": {"bits": "bits1_5"}}, "wal_config": None}),
    (CreateCollection, {"size": 1, "optimizers_config": {"max_optimization_threads": "auto"}, "shard_number": 2}),
    (UpdateCollection, {"quantization_config": "Disabled"}),
    (UpdateCollection, {"vectors": {"": {"quantization_config": {"product": {"compression": "x4"}}}}}),
    (UpdateCollection, {"metadata": {"a": None}, "optimizers_config": {"max_optimization_threads": 0}}),
    (UpdateCollection, {"read_fan_out_factor": 0, "sparse_vectors": {"s": {"index": {"on_disk": True}}}}),
    (Empty, {}),
]

REFUSED: list[tuple[type[Model], Any]] = [
    (Upsert, {}),
    (Upsert, {"points": []}),
    (Upsert, {"points": None}),
    (Upsert, upsert(vectors=[1.0])),
    (Upsert, upsert(id=True)),
    (Upsert, upsert(id=1.0)),
    (Upsert, upsert(id="1")),
    (Upsert, upsert(vector=[])),
    (Upsert, upsert(vector={})),
    (Upsert, upsert(vector={"a": []})),
    (Upsert, upsert(vector=["1"])),
    (Upsert, upsert(vector=[True])),
    (Upsert, upsert(vector=[None])),
    (Upsert, upsert(vector=[float("nan")])),
    (Upsert, upsert(vector=[10**400])),
    (Upsert, upsert(vector=1.0)),
    (Upsert, upsert(vector=[0.0] * 65_537)),
    (Upsert, upsert(payload=[])),
    (Upsert, upsert(payload={"_version": 1})),
    (Upsert, upsert(version=-1)),
    (Upsert, upsert(version=2**53)),
    (Upsert, upsert(version=1.0)),
    (Delete, {}),
    (Delete, {"ids": []}),
    (Delete, {"ids": [1], "filter": {"must": [{"has_id": [1]}]}}),
    (Delete, {"filter": {}}),
    (Delete, {"filter": {"must": [{}]}}),
    (Delete, {"filter": {"must": [{"has_id": [1]}]}, "version": 1}),
    (Delete, {"ids": [1], "version": -1}),
    (Delete, {"ids": [1], "version": 2**53}),
    (Delete, {"ids": [1], "version": 1.0}),
    (SetPayload, {"ids": [1]}),
    (SetPayload, {"set": {"a": 1}}),
    (SetPayload, {"filter": {}, "set": {"a": 1}}),
    (SetPayload, {"ids": [1], "unset": []}),
    (SetPayload, {"ids": [1], "unset": [""]}),
    (SetPayload, {"ids": [1], "unset": ["_version"]}),
    (SetPayload, {"ids": [1], "unset": ['"_version"']}),
    (SetPayload, {"ids": [1], "unset": ["_version.a"]}),
    (SetPayload, {"ids": [1], "set": {"_version": 1}}),
    (SetPayload, {"ids": [1], "overwrite": {"_version": 1}}),
    (Query, {}),
    (Query, query(vector={"a": [1.0]})),
    (Query, query(limit=0)),
    (Query, query(limit=10_001)),
    (Query, query(limit="10")),
    (Query, query(offset=-1)),
    (Query, query(offset=2**31)),
    (Query, query(score_threshold=float("inf"))),
    (Query, query(score_threshold=10**400)),
    (Query, query(with_payload=1)),
    (Query, query(k=3)),
    (Get, {"ids": []}),
    (Get, {"ids": [1] * 10_001}),
    (CreateCollection, {}),
    (CreateCollection, {"size": 0}),
    (CreateCollection, {"size": 65_537}),
    (CreateCollection, {"size": 2, "vectors": {"a": {"size": 2}}}),
    (CreateCollection, {"vectors": {}}),
    (CreateCollection, {"size": 2, "distance": "jaccard"}),
    (CreateCollection, {"size": 2, "distance": 1}),
    (CreateCollection, {"sparse_vectors": {}}),
    (CreateCollection, {"sparse_vectors": {"": {}}}),
    (CreateCollection, {"vectors": {"a": {"size": 1}}, "sparse_vectors": {"a": {}}}),
    (CreateCollection, {"size": 1, "vectors": {"a": {"size": 1, "datatype": "float64"}}}),
    (CreateCollection, {"size": 1, "quantization_config": {}}),
    (CreateCollection, {"size": 1, "quantization_config": {"scalar": {}, "binary": {}}}),
    (CreateCollection, {"size": 1, "quantization_config": "disabled"}),
    (CreateCollection, {"size": 1, "hnsw_config": {"ef_construct": 3}}),
    (CreateCollection, {"size": 1, "optimizers_config": {"max_optimization_threads": "all"}}),
    (CreateCollection, {"size": 1, "shard_number": 0}),
    (CreateCollection, {"size": 1, "metadata": {"": 1}}),
    (UpdateCollection, {}),
    (UpdateCollection, {"vectors": {}}),
    (UpdateCollection, {"vectors": {"": {"size": 2}}}),
    (UpdateCollection, {"metadata": None}),
    (UpdateCollection, {"shard_number": 2}),
    (Empty, {"a": 1}),
    (Empty, []),
]


@pytest.mark.parametrize(("model", "body"), ACCEPTED)
def test_accepted(model: type[Model], body: dict[str, Any]):
    accepted = model.model_validate(body)
    again = model.model_validate_json(accepted.model_dump_json(by_alias=True))
    assert again.model_dump() == accepted.model_dump()


@pytest.mark.parametrize(("model", "body"), REFUSED)
def test_refused(model: type[Model], body: Any):
    with pytest.raises(ValidationError):
        model.model_validate(body)


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.operation.value)
@given(body=JSON_VALUES)
def test_any_json_is_a_body_or_a_validation_error(each: WireOperation, body: Any):
    try:
        accepted = each.body.model_validate(body)
    except ValidationError:
        return
    assert accepted.model_dump(mode="json", by_alias=True, exclude_unset=True) == body


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.operation.value)
def test_examples_are_bodies_and_replies(each: WireOperation):
    each.body.model_validate(each.example)
    each.reply.model_validate(each.example_reply)


def test_ids_of_a_body_are_canonical():
    assert Delete.model_validate({"ids": [UUID]}).ids == ["3aec9f96-379f-553d-9acb-30de5460498c"]


def test_both_forms_of_a_collection_are_one_by_name():
    assert CreateCollection(size=3, distance=Distance.DOT).by_name() == {
        "": VectorParams(size=3, distance=Distance.DOT)
    }
    assert CreateCollection(vectors={"a": VectorParams(size=2)}).by_name() == {"a": VectorParams(size=2)}


@pytest.mark.parametrize("code", ErrorCode)
def test_an_error_reply_has_the_status_and_retryability_of_its_code(code: ErrorCode):
    reply = error_reply(code, "why", 1.0, retry_after=2.0).model_dump(mode="json")
    assert reply["status"] // 100 in (4, 5)
    assert reply["error"]["code"] == code.value
    assert reply["error"]["retry_after"] == 2.0
    assert reply["error"]["retryable"] == (code.value in RETRYABLE)


RETRYABLE = {"overloaded", "unexpected", "quota_exceeded", "store_error", "store_unavailable", "deadline_exceeded"}
