"""What memq relies on in a store beyond the recorded answers."""

from __future__ import annotations

import asyncio
import math
import secrets
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import grpc_to_payload, payload_to_grpc
from qdrant_client.grpc import CollectionsStub, PointsStub

from tests.contract.messages import (
    ALL_PAYLOAD,
    ALL_VECTORS,
    between,
    dense,
    has_id,
    is_empty,
    match,
    matching,
    must,
    named,
    near,
    near_id,
    point,
    point_id,
    single_vector,
    these,
    vector_map,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.contract.conftest import Store

COMPLETED = q.UpdateStatus.Completed
INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def upsert(store: Store, collection: str, *points: Any, **more: Any) -> None:
    request = q.UpsertPoints(collection_name=collection, wait=True, points=points, **more)
    answer = await store.points.Upsert(request)
    assert answer.result.status == COMPLETED


async def get(store: Store, collection: str, *keys: int | str, vectors: bool = False) -> list[Any]:
    request = q.GetPoints(
        collection_name=collection,
        ids=[point_id(key) for key in keys],
        with_payload=ALL_PAYLOAD,
        with_vectors=ALL_VECTORS if vectors else None,
    )
    return list((await store.points.Get(request)).result)


async def payload_of(store: Store, collection: str, key: int | str) -> dict[str, Any]:
    (found,) = await get(store, collection, key)
    return grpc_to_payload(found.payload)


async def count(store: Store, collection: str, found: Any = None) -> int:
    request = q.CountPoints(collection_name=collection, exact=True, filter=found)
    return (await store.points.Count(request)).result.count


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


@pytest.fixture
async def named_collection(store: Store) -> AsyncIterator[str]:
    name = f"memq-test-{secrets.token_hex(6)}"
    vectors = vector_map(text=(3, q.Distance.Cosine), image=(2, q.Distance.Euclid))
    await store.collections.Create(q.CreateCollection(collection_name=name, vectors_config=vectors))
    yield name
    await store.collections.Delete(q.DeleteCollection(collection_name=name))


async def test_each_named_vector_is_searched_on_its_own(store: Store, named_collection: str) -> None:
    await upsert(
        store,
        named_collection,
        point(1, named(text=[1, 0, 0], image=[5, 5])),
        point(2, named(text=[0, 1, 0], image=[0, 0])),
        point(3, named(image=[1, 1])),
    )
    by_text = q.QueryPoints(collection_name=named_collection, query=near(1, 0.1, 0), using="text", limit=5)
    by_image = q.QueryPoints(collection_name=named_collection, query=near(0, 0), using="image", limit=5)
    assert [hit.id.num for hit in (await store.points.Query(by_text)).result] == [1, 2]
    assert [hit.id.num for hit in (await store.points.Query(by_image)).result] == [2, 3, 1]


async def test_named_vectors_come_back_under_their_names(store: Store, named_collection: str) -> None:
    await upsert(store, named_collection, point(1, named(text=[0, 0, 2], image=[3, 4])))
    (found,) = await get(store, named_collection, 1, vectors=True)
    vectors = found.vectors.vectors.vectors
    assert {name: list(vectors[name].dense.data) for name in vectors} == {"text": [0, 0, 1], "image": [3, 4]}


async def test_only_the_asked_vector_is_returned(store: Store, named_collection: str) -> None:
    await upsert(store, named_collection, point(1, named(text=[0, 0, 2], image=[3, 4])))
    request = q.ScrollPoints(
        collection_name=named_collection,
        with_vectors=q.WithVectorsSelector(include=q.VectorsSelector(names=["image"])),
    )
    (found,) = (await store.points.Scroll(request)).result
    assert set(found.vectors.vectors.vectors) == {"image"}


async def test_query_by_id_leaves_the_point_itself_out_and_keeps_the_filter(store: Store, collection: str) -> None:
    await upsert(store, collection, *[point(n, dense(1, n / 10, 0, 0), even=n % 2 == 0) for n in range(6)])
    even = must(match("even", boolean=True))
    request = q.QueryPoints(collection_name=collection, query=near_id(0), filter=even, limit=10)
    assert [hit.id.num for hit in (await store.points.Query(request)).result] == [2, 4]


async def test_threshold_offset_and_limit_act_together(store: Store, collection: str) -> None:
    await upsert(store, collection, *[point(n, dense(1, n / 4, 0, 0)) for n in range(9)])
    request = q.QueryPoints(collection_name=collection, query=near(1, 0, 0, 0), score_threshold=0.6, offset=2, limit=10)
    hits = (await store.points.Query(request)).result
    assert [hit.id.num for hit in hits] == [2, 3, 4, 5]
    assert all(hit.score >= 0.6 for hit in hits)


async def test_filters_combine(store: Store, collection: str) -> None:
    await upsert(store, collection, *[point(n, dense(1, 0, 0, 0), n=n, tag="ab"[n % 2]) for n in range(10)])
    found = q.Filter(
        must=[between("n", gte=2, lt=8)],
        should=[match("tag", keyword="a"), has_id(3)],
        must_not=[match("n", integers=q.RepeatedIntegers(integers=[4]))],
    )
    request = q.ScrollPoints(collection_name=collection, filter=found)
    assert [each.id.num for each in (await store.points.Scroll(request)).result] == [2, 3, 6]


async def test_datetime_and_geo_filters(store: Store, collection: str) -> None:
    await upsert(
        store,
        collection,
        point(1, dense(1, 0, 0, 0), at="2024-05-01T00:00:00Z", place={"lon": 13.4, "lat": 52.5}),
        point(2, dense(1, 0, 0, 0), at="2025-05-01T00:00:00Z", place={"lon": 2.35, "lat": 48.85}),
    )
    later = q.DatetimeRange()
    later.gt.FromJsonString("2024-12-31T00:00:00Z")
    in_time = q.Condition(field=q.FieldCondition(key="at", datetime_range=later))
    berlin = q.GeoRadius(center=q.GeoPoint(lon=13.4, lat=52.52), radius=10_000)
    in_place = q.Condition(field=q.FieldCondition(key="place", geo_radius=berlin))
    assert await count(store, collection, must(in_time)) == 1
    assert await count(store, collection, must(in_place)) == 1
    assert await count(store, collection, must(in_time, in_place)) == 0


async def test_a_malformed_filter_key_is_named(store: Store, collection: str) -> None:
    request = q.CountPoints(collection_name=collection, filter=must(match("a[", keyword="x")))
    code, details = await refusal(store.points.Count(request))
    assert code is INVALID
    assert "a[" in details


async def test_scroll_pages_through_everything_once(store: Store, collection: str) -> None:
    await upsert(store, collection, *[point(n, dense(1, 0, 0, 0)) for n in range(25)])
    seen: list[int] = []
    offset = None
    while True:
        request = q.ScrollPoints(collection_name=collection, limit=10, offset=offset)
        page = await store.points.Scroll(request)
        seen += [each.id.num for each in page.result]
        if not page.HasField("next_page_offset"):
            break
        offset = page.next_page_offset
    assert seen == list(range(25))


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
    await upsert(
        store, collection, q.PointStruct(id=point_id(1), vectors=dense(1, 0, 0, 0), payload=payload_to_grpc(payload))
    )
    found = await payload_of(store, collection, 1)
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
    assert await refusal(store.points.Upsert(request)) == (INVALID, "cannot convert to json number")
    assert await count(store, collection) == 0


async def test_overwriting_replaces_the_whole_payload_and_setting_merges(store: Store, collection: str) -> None:
    await upsert(store, collection, point(1, dense(1, 0, 0, 0), a=1, b={"c": 1}))
    set_nested = q.SetPayloadPoints(
        collection_name=collection, wait=True, payload=payload_to_grpc({"d": 2}), points_selector=these(1), key="b"
    )
    await store.points.SetPayload(set_nested)
    assert await payload_of(store, collection, 1) == {"a": 1, "b": {"c": 1, "d": 2}}
    overwrite = q.SetPayloadPoints(
        collection_name=collection, wait=True, payload=payload_to_grpc({"z": 9}), points_selector=these(1)
    )
    await store.points.OverwritePayload(overwrite)
    assert await payload_of(store, collection, 1) == {"z": 9}


async def test_payload_is_removed_by_filter(store: Store, collection: str) -> None:
    await upsert(store, collection, *[point(n, dense(1, 0, 0, 0), n=n, gone=True) for n in range(4)])
    request = q.DeletePayloadPoints(
        collection_name=collection,
        wait=True,
        keys=["gone"],
        points_selector=matching(must(between("n", gte=2))),
    )
    await store.points.DeletePayload(request)
    assert await count(store, collection, must(is_empty("gone"))) == 2


def not_newer(key: int, version: int) -> Any:
    """The condition of one point of an upsert whose points each carry a version of their own."""
    stale = q.Filter(should=[is_empty("_version"), between("_version", lt=version)])
    return q.Condition(filter=must(has_id(key), q.Condition(filter=stale)))


async def test_a_version_per_point_decides_for_each_point(store: Store, collection: str) -> None:
    at = dense(1, 0, 0, 0)
    await upsert(store, collection, point(1, at, _version=5), point(2, at, _version=5), point(3, at))
    versions = {1: 4, 2: 6, 3: 1, 4: 1}
    await upsert(
        store,
        collection,
        *[point(key, at, _version=version, new=True) for key, version in versions.items()],
        update_filter=q.Filter(should=[not_newer(key, version) for key, version in versions.items()]),
    )
    stored = {each.id.num: grpc_to_payload(each.payload) for each in await get(store, collection, 1, 2, 3, 4)}
    assert stored == {
        1: {"_version": 5},
        2: {"_version": 6, "new": True},
        3: {"_version": 1, "new": True},
        4: {"_version": 1, "new": True},
    }


async def test_a_mixed_batch_is_applied_in_order(store: Store, collection: str) -> None:
    operation = q.PointsUpdateOperation
    at = dense(1, 0, 0, 0)
    old = q.Filter(should=[between("n", lt=1)])
    steps = [
        operation(upsert=operation.PointStructList(points=[point(1, at, n=1), point(2, at, n=2), point(3, at)])),
        operation(set_payload=operation.SetPayload(payload=payload_to_grpc({"s": 1}), points_selector=these(1, 2))),
        operation(delete_payload=operation.DeletePayload(keys=["n"], points_selector=these(2))),
        operation(
            overwrite_payload=operation.OverwritePayload(payload=payload_to_grpc({"o": 1}), points_selector=these(3))
        ),
        operation(upsert=operation.PointStructList(points=[point(1, at, lost=True)], update_filter=old)),
        operation(upsert=operation.PointStructList(points=[point(4, at)])),
        operation(delete_points=operation.DeletePoints(points=these(4))),
    ]
    request = q.UpdateBatchPoints(collection_name=collection, wait=True, operations=steps)
    answer = await store.points.UpdateBatch(request)
    assert [each.status for each in answer.result] == [COMPLETED] * len(steps)
    stored = {each.id.num: grpc_to_payload(each.payload) for each in await get(store, collection, 1, 2, 3, 4)}
    assert stored == {1: {"n": 1, "s": 1}, 2: {"s": 1}, 3: {"o": 1}}


async def test_a_large_batch_is_one_upsert(store: Store, collection: str) -> None:
    await upsert(store, collection, *[point(n, dense(1, n, 0, 0), n=n) for n in range(1000)])
    assert await count(store, collection) == 1000
    assert await payload_of(store, collection, 999) == {"n": 999}


async def test_no_message_is_too_large(store: Store, collection: str) -> None:
    """Well past gRPC's default of 4 MiB, in both directions."""
    text = "x" * 8_000_000
    await upsert(store, collection, point(1, dense(1, 0, 0, 0), text=text))
    assert await payload_of(store, collection, 1) == {"text": text}


async def test_a_bad_point_keeps_its_whole_batch_out(store: Store, collection: str) -> None:
    good = [point(n, dense(1, 0, 0, 0)) for n in range(200)]
    for bad in (point(900, dense(1, 0)), point(900, named(zz=[1, 0, 0, 0])), point("nonsense", dense(1, 0, 0, 0))):
        request = q.UpsertPoints(collection_name=collection, wait=True, points=[*good, bad])
        code, _ = await refusal(store.points.Upsert(request))
        assert code is INVALID
    assert await count(store, collection) == 0


async def test_uuids_are_one_id_in_every_spelling(store: Store, collection: str) -> None:
    canonical = "0b8f2a60-5d6b-4f0e-9c57-2f7d2f1f6a11"
    for n, spelling in enumerate((canonical, canonical.upper(), canonical.replace("-", ""), f"urn:uuid:{canonical}")):
        await upsert(store, collection, point(spelling, dense(1, 0, 0, 0), n=n))
    (found,) = await get(store, collection, canonical.upper())
    assert found.id.uuid == canonical
    assert await count(store, collection) == 1
    await store.points.Delete(q.DeletePoints(collection_name=collection, wait=True, points=these(canonical.upper())))
    assert await count(store, collection) == 0


async def test_vectors_written_as_raw_bytes_are_read_exactly(store: Store) -> None:
    """memq's own way of writing: DenseVector parsed from packed little-endian float32."""
    name = f"memq-test-{secrets.token_hex(6)}"
    config = single_vector(384, q.Distance.Dot)
    await store.collections.Create(q.CreateCollection(collection_name=name, vectors_config=config))
    rows = np.random.default_rng(7).standard_normal((100, 384)).astype("<f4")
    request = q.UpsertPoints(collection_name=name, wait=True)
    for n, row in enumerate(rows):
        added = request.points.add(id=point_id(n + 1))
        added.vectors.vector.dense.MergeFromString(b"\x0a\x80\x0c" + row.tobytes())
    await store.points.Upsert(request)
    found = await get(store, name, *range(1, 101), vectors=True)
    await store.collections.Delete(q.DeleteCollection(collection_name=name))
    stored = {each.id.num: list(each.vectors.vector.dense.data) for each in found}
    assert all(stored[n + 1] == row.tolist() for n, row in enumerate(rows))


async def test_the_older_way_of_writing_a_vector_is_read_too(store: Store, collection: str) -> None:
    old = q.PointStruct(id=point_id(1), vectors=q.Vectors(vector=q.Vector(data=[0, 2, 0, 0])))
    await upsert(store, collection, old)
    (found,) = await get(store, collection, 1, vectors=True)
    assert list(found.vectors.vector.dense.data or found.vectors.vector.data) == [0, 1, 0, 0]


async def test_concurrent_requests_do_not_mix(store: Store, collection: str) -> None:
    async def write_and_read(writer: int) -> None:
        keys = range(writer * 100, writer * 100 + 50)
        await upsert(store, collection, *[point(key, dense(1, writer, 0, 0), writer=writer) for key in keys])
        mine = must(match("writer", integer=writer))
        assert await count(store, collection, mine) == 50
        query = q.QueryPoints(collection_name=collection, query=near(1, writer, 0, 0), filter=mine, limit=50)
        assert {hit.id.num for hit in (await store.points.Query(query)).result} == set(keys)

    await asyncio.gather(*[write_and_read(writer) for writer in range(16)])
    assert await count(store, collection) == 800


async def test_an_index_changes_no_answer_and_is_described(store: Store, collection: str) -> None:
    await upsert(store, collection, *[point(n, dense(1, 0, 0, 0), tag="ab"[n % 2], n=n) for n in range(10)])
    found = must(match("tag", keyword="a"), between("n", lt=6))
    before = await count(store, collection, found)
    for field, kind in (("tag", q.FieldType.FieldTypeKeyword), ("n", q.FieldType.FieldTypeInteger)):
        request = q.CreateFieldIndexCollection(collection_name=collection, wait=True, field_name=field, field_type=kind)
        await store.points.CreateFieldIndex(request)
    assert await count(store, collection, found) == before == 3
    info = (await store.collections.Get(q.GetCollectionInfoRequest(collection_name=collection))).result
    assert set(info.payload_schema) == {"tag", "n"}
    await store.points.DeleteFieldIndex(
        q.DeleteFieldIndexCollection(collection_name=collection, wait=True, field_name="n")
    )
    info = (await store.collections.Get(q.GetCollectionInfoRequest(collection_name=collection))).result
    assert set(info.payload_schema) == {"tag"}


async def test_health_is_serving_for_both_kinds_of_check(store: Store) -> None:
    check = store.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert await check(b"") == b"\x08\x01"
    assert (await store.qdrant.HealthCheck(q.HealthCheckRequest())).title == "qdrant - vector search engine"
