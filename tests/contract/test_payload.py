from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import grpc_to_payload, payload_to_grpc
from qdrant_client.grpc import CollectionsStub, PointsStub

from memq_schemas import ErrorCode, SetPayload
from memq_worker.errors import MessageError
from memq_worker.qdrant.client import open_store
from memq_worker.qdrant.payloads import PayloadChanges
from tests.contract.messages import (
    ALL_PAYLOAD,
    between,
    dense,
    is_empty,
    matching,
    must,
    point,
    point_id,
    single_vector,
    these,
)
from tests.contract.store import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contract.store import Store


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param({}, id="empty"),
        pytest.param({"": "", "ключ": "значение", "emoji": "🧠" * 3, "nul": "a\0b"}, id="unicode"),
        pytest.param({"max": 2**63 - 1, "min": -(2**63), "zero": 0, "minus": -1}, id="64-bit integers"),
        pytest.param({"pi": 3.25, "whole": 2.0, "tiny": 5e-324, "huge": 1.7e308}, id="doubles"),
        pytest.param({"t": True, "f": False, "n": None, "e": [], "d": {}}, id="small values"),
        pytest.param({"a": {"b": [{"c": [[1, "x"], None]}, 2.5]}}, id="nested"),
    ],
)
async def test_payload_comes_back_as_it_went_in(store: Store, collection: str, payload: dict[str, Any]) -> None:
    await store.upsert(
        collection, q.PointStruct(id=point_id(1), vectors=dense(1, 0, 0, 0), payload=payload_to_grpc(payload))
    )
    found = (await store.payloads(collection, 1))[1]
    assert found == payload
    assert {key: type(item) for key, item in found.items()} == {key: type(item) for key, item in payload.items()}


# Subnormals aside, Qdrant keeps doubles to the last bit but one: it stores payloads as JSON text.
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return math.isclose(one, other, rel_tol=1e-15) if isinstance(one, float) else one == other


@pytest.fixture
def roundtrip(served: tuple[str, str]) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """Writes a payload and reads it back. Synchronous, as hypothesis is."""
    name = f"memq-test-{secrets.token_hex(6)}"
    with grpc.insecure_channel(served[1]) as channel:
        collections, points = CollectionsStub(channel), PointsStub(channel)
        collections.Create(q.CreateCollection(collection_name=name, vectors_config=single_vector(1)))
        read = q.GetPoints(collection_name=name, ids=[point_id(1)], with_payload=ALL_PAYLOAD)

        def there_and_back(payload: dict[str, Any]) -> dict[str, Any]:
            stored = q.PointStruct(id=point_id(1), vectors=dense(1), payload=payload_to_grpc(payload))
            points.Upsert(q.UpsertPoints(collection_name=name, wait=True, points=[stored]))
            (found,) = points.Get(read).result
            return grpc_to_payload(found.payload)

        yield there_and_back
        collections.Delete(q.DeleteCollection(collection_name=name))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.dictionaries(st.text(), JSON, max_size=6))
def test_any_json_payload_comes_back(
    roundtrip: Callable[[dict[str, Any]], dict[str, Any]], payload: dict[str, Any]
) -> None:
    assert same(roundtrip(payload), payload)


async def test_a_payload_number_that_json_lacks_is_refused(store: Store, collection: str) -> None:
    bad = point(1, dense(1, 0, 0, 0), n=float("nan"))
    request = q.UpsertPoints(collection_name=collection, wait=True, points=[point(2, dense(1, 0, 0, 0)), bad])
    assert await refusal(store.points.Upsert(request)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "cannot convert to json number",
    )
    assert await store.count(collection) == 0


async def test_overwriting_replaces_the_whole_payload_and_setting_merges(store: Store, collection: str) -> None:
    await store.upsert(collection, point(1, dense(1, 0, 0, 0), a=1, b={"c": 1}))
    set_nested = q.SetPayloadPoints(
        collection_name=collection, wait=True, payload=payload_to_grpc({"d": 2}), points_selector=these(1), key="b"
    )
    await store.points.SetPayload(set_nested)
    assert (await store.payloads(collection, 1))[1] == {"a": 1, "b": {"c": 1, "d": 2}}
    overwrite = q.SetPayloadPoints(
        collection_name=collection, wait=True, payload=payload_to_grpc({"z": 9}), points_selector=these(1)
    )
    await store.points.OverwritePayload(overwrite)
    assert (await store.payloads(collection, 1))[1] == {"z": 9}


async def test_payload_is_removed_by_filter(store: Store, collection: str) -> None:
    await store.upsert(collection, *[point(n, dense(1, 0, 0, 0), n=n, gone=True) for n in range(4)])
    request = q.DeletePayloadPoints(
        collection_name=collection,
        wait=True,
        keys=["gone"],
        points_selector=matching(must(between("n", gte=2))),
    )
    await store.points.DeletePayload(request)
    assert await store.count(collection, must(is_empty("gone"))) == 2


@pytest.mark.parametrize("change", [{"set": {"seen": True}}, {"unset": ["n"]}, {"set": {"seen": True}, "unset": ["n"]}])
async def test_a_point_deleted_after_the_ids_are_read_is_told_as_a_partly_applied_change(
    store: Store, served: tuple[str, str], collection: str, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = payload_to_grpc({"n": 1})
    await store.upsert(
        collection,
        *(q.PointStruct(id=point_id(number), vectors=dense(1, 0, 0, 0), payload=payload) for number in (1, 2, 3)),
    )
    read = PayloadChanges.stored

    async def read_and_lose(self: PayloadChanges, name: str, ids: Any) -> list[Any]:
        found = await read(self, name, ids)
        await store.points.Delete(q.DeletePoints(collection_name=name, wait=True, points=these(2)))
        return found

    monkeypatch.setattr(PayloadChanges, "stored", read_and_lose)
    async with open_store(f"http://{served[1]}", None, 20.0) as opened:
        with pytest.raises(MessageError, match="may have been changed") as refused:
            await opened.set_payload(collection, SetPayload(ids=[1, 2, 3], **change))
    assert refused.value.code is ErrorCode.UNKNOWN_POINT
    assert set(await store.payloads(collection, 1, 2, 3)) == {1, 3}
