"""What the embedded engine does not do, it says; only the embedded engine is asked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from qdrant_client import grpc as q
from qdrant_client.grpc import collections_service_pb2, points_service_pb2, qdrant_pb2, snapshots_service_pb2

from tests.contract.messages import between, dense, must, near, single_vector
from tests.contract.store import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.store import Store

SERVED = {
    "Collections": {"Create", "List", "Get", "Delete", "CollectionExists"},
    "Points": {
        "Upsert", "Delete", "Get", "SetPayload", "OverwritePayload", "DeletePayload", "ClearPayload",
        "CreateFieldIndex", "DeleteFieldIndex", "Scroll", "Count", "Query", "QueryBatch", "UpdateBatch",
    },
    "Qdrant": {"HealthCheck"},
}  # fmt: skip


def methods() -> Iterator[tuple[str, str]]:
    descriptors = (
        collections_service_pb2.DESCRIPTOR,
        points_service_pb2.DESCRIPTOR,
        snapshots_service_pb2.DESCRIPTOR,
        qdrant_pb2.DESCRIPTOR,
    )
    for descriptor in descriptors:
        for service in descriptor.services_by_name.values():
            for method in service.methods:
                yield service.name, method.name


UNSERVED = [(service, method) for service, method in methods() if method not in SERVED.get(service, ())]


@pytest.fixture
def embedded(store: Store) -> Store:
    if store.kind != "embedded":
        pytest.skip("a server serves these")
    return store


def test_every_service_is_known_here() -> None:
    assert {(service, name) for service, names in SERVED.items() for name in names} <= set(methods())
    assert len(UNSERVED) > 20


@pytest.mark.parametrize(("service", "method"), UNSERVED)
async def test_a_method_that_is_not_served_is_named_in_the_refusal(embedded: Store, service: str, method: str) -> None:
    path = f"/qdrant.{service}/{method}"
    code, details = await refusal(embedded.channel.unary_unary(path)(b""))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert path in details
    assert "MEMQ_QDRANT_URL" in details


async def test_a_service_nobody_knows_is_refused_too(embedded: Store) -> None:
    code, _ = await refusal(embedded.channel.unary_unary("/made.Up/Thing")(b""))
    assert code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "request_fields",
    [
        pytest.param({"prefetch": [q.PrefetchQuery(query=near(1, 0, 0, 0), limit=3)]}, id="prefetch"),
        pytest.param({"query": q.Query(sample=q.Sample.Random)}, id="sample"),
        pytest.param({"query": q.Query(order_by=q.OrderBy(key="n"))}, id="order_by"),
        pytest.param({"lookup_from": q.LookupLocation(collection_name="x")}, id="lookup_from"),
        pytest.param({"shard_key_selector": q.ShardKeySelector()}, id="shard_key_selector"),
        pytest.param({"params": q.SearchParams(idf=q.IdfParams())}, id="idf"),
    ],
)
async def test_a_kind_of_query_that_is_not_served_is_named(
    embedded: Store, collection: str, request_fields: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    asked = q.QueryPoints(**{"query": near(1, 0, 0, 0), **request_fields}, collection_name=collection)
    code, details = await refusal(embedded.points.Query(asked))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert request.node.callspec.id.removeprefix("embedded-") in details


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"quantization_config": q.QuantizationConfig(binary=q.BinaryQuantization())}, id="quantization"),
        pytest.param({"sparse_vectors_config": q.SparseVectorConfig(map={"s": q.SparseVectorParams()})}, id="sparse"),
        pytest.param({"strict_mode_config": q.StrictModeConfig(enabled=True)}, id="strict"),
        pytest.param({"sharding_method": q.ShardingMethod.Custom}, id="sharding"),
    ],
)
async def test_a_collection_that_could_not_keep_its_promise_is_not_created(
    embedded: Store, config: dict[str, Any]
) -> None:
    name = "memq-test-unserved"
    wanted = q.CreateCollection(collection_name=name, vectors_config=single_vector(4), **config)
    code, _ = await refusal(embedded.collections.Create(wanted))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    exists = await embedded.collections.CollectionExists(q.CollectionExistsRequest(collection_name=name))
    assert not exists.result.exists


async def test_sparse_vectors_are_refused_before_anything_is_written(embedded: Store, collection: str) -> None:
    sparse = q.Vectors(vector=q.Vector(sparse=q.SparseVector(values=[1], indices=[3])))
    points = [
        q.PointStruct(id=q.PointId(num=1), vectors=dense(1, 0, 0, 0)),
        q.PointStruct(id=q.PointId(num=2), vectors=sparse),
    ]
    upsert = q.UpsertPoints(collection_name=collection, wait=True, points=points)
    code, _ = await refusal(embedded.points.Upsert(upsert))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert await embedded.count(collection) == 0


async def test_bytes_that_are_no_message_are_refused(embedded: Store) -> None:
    code, details = await refusal(embedded.channel.unary_unary("/qdrant.Points/Upsert")(b"\xff\xff\xff"))
    assert code is grpc.StatusCode.INTERNAL
    assert "Protobuf" in details
    # and the engine goes on
    await embedded.collections.List(q.ListCollectionsRequest())


async def test_a_panic_in_the_engine_is_one_refused_request(embedded: Store, collection: str) -> None:
    """A NaN bound on a float index is one way to cause one."""
    index = q.CreateFieldIndexCollection(
        collection_name=collection, wait=True, field_name="f", field_type=q.FieldType.FieldTypeFloat
    )
    await embedded.points.CreateFieldIndex(index)
    values = [
        q.PointStruct(id=q.PointId(num=n), vectors=dense(1, 0, 0, 0), payload={"f": q.Value(double_value=n)})
        for n in range(5)
    ]
    await embedded.points.Upsert(q.UpsertPoints(collection_name=collection, wait=True, points=values))
    asked = q.CountPoints(collection_name=collection, filter=must(between("f", gt=math.nan)))
    code, details = await refusal(embedded.points.Count(asked, timeout=20))
    assert code is grpc.StatusCode.INTERNAL
    assert "panicked" in details
    assert await embedded.count(collection) == 5
