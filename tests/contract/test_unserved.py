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
    "Collections": {
        "Create", "List", "Get", "Delete", "Update", "CollectionExists",
        "UpdateAliases", "ListAliases", "ListCollectionAliases",
    },
    "Points": {
        "Upsert", "Delete", "Get", "SetPayload", "OverwritePayload", "DeletePayload", "ClearPayload",
        "CreateFieldIndex", "DeleteFieldIndex", "Scroll", "Count", "Query", "QueryBatch", "QueryGroups", "Facet",
        "UpdateBatch", "UpdateVectors", "DeleteVectors",
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


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(q.Vector(sparse=q.SparseVector(values=[1], indices=[3, 4])), id="unequal lengths"),
        pytest.param(q.Vector(sparse=q.SparseVector(values=[1, 2], indices=[3, 3])), id="repeated index"),
        pytest.param(
            q.Vector(multi_dense=q.MultiDenseVector(vectors=[q.DenseVector(data=[1, 0]), q.DenseVector(data=[1])])),
            id="ragged rows",
        ),
        pytest.param(q.Vector(multi_dense=q.MultiDenseVector(vectors=[q.DenseVector()])), id="empty row"),
        pytest.param(q.Vector(multi_dense=q.MultiDenseVector()), id="no rows"),
        pytest.param(q.Vector(data=[1, 2, 3], vectors_count=2), id="rows that do not divide"),
    ],
)
@pytest.mark.parametrize("method", ["Upsert", "UpdateVectors"])
async def test_vectors_the_engine_would_panic_on_never_reach_its_log(embedded: Store, vector: Any, method: str) -> None:
    """The engine writes an operation to its WAL before it panics, and then panics at every start."""
    name = "memq-test-panics"
    multi = q.VectorParams(size=2, distance=q.Distance.Dot, multivector_config=q.MultiVectorConfig())
    await embedded.create(
        name,
        vectors_config=q.VectorsConfig(params_map=q.VectorParamsMap(map={"m": multi})),
        sparse_vectors_config=q.SparseVectorConfig(map={"s": q.SparseVectorParams()}),
    )
    try:
        good = q.Vectors(
            vectors=q.NamedVectors(vectors={"s": q.Vector(sparse=q.SparseVector(values=[1], indices=[3]))})
        )
        await embedded.upsert(name, q.PointStruct(id=q.PointId(num=1), vectors=good))
        slot = "s" if vector.WhichOneof("vector") == "sparse" else "m"
        bad = q.Vectors(vectors=q.NamedVectors(vectors={slot: vector}))
        if method == "Upsert":
            call = embedded.points.Upsert(
                q.UpsertPoints(
                    collection_name=name,
                    wait=True,
                    points=[
                        q.PointStruct(id=q.PointId(num=2), vectors=good),
                        q.PointStruct(id=q.PointId(num=3), vectors=bad),
                    ],
                )
            )
        else:
            call = embedded.points.UpdateVectors(
                q.UpdatePointVectors(
                    collection_name=name, wait=True, points=[q.PointVectors(id=q.PointId(num=1), vectors=bad)]
                )
            )
        code, _ = await refusal(call)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert await embedded.count(name) == 1
        await embedded.upsert(name, q.PointStruct(id=q.PointId(num=4), vectors=good))
    finally:
        await embedded.delete(name)


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
