from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import payload_to_grpc

from tests.contract.messages import (
    between,
    dense,
    has_id,
    is_empty,
    match,
    must,
    named,
    point,
    point_id,
    single_vector,
    these,
)
from tests.contract.store import refusal

if TYPE_CHECKING:
    from tests.contract.store import Store


def not_newer(key: int, version: int) -> Any:
    """The condition of one point of an upsert whose points each carry a version of their own."""
    stale = q.Filter(should=[is_empty("_version"), between("_version", lt=version)])
    return q.Condition(filter=must(has_id(key), q.Condition(filter=stale)))


async def test_a_version_per_point_decides_for_each_point(store: Store, collection: str) -> None:
    at = dense(1, 0, 0, 0)
    await store.upsert(collection, point(1, at, _version=5), point(2, at, _version=5), point(3, at))
    versions = {1: 4, 2: 6, 3: 1, 4: 1}
    await store.upsert(
        collection,
        *[point(key, at, _version=version, new=True) for key, version in versions.items()],
        update_filter=q.Filter(should=[not_newer(key, version) for key, version in versions.items()]),
    )
    stored = await store.payloads(collection, 1, 2, 3, 4)
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
    assert [each.status for each in answer.result] == [q.UpdateStatus.Completed] * len(steps)
    stored = await store.payloads(collection, 1, 2, 3, 4)
    assert stored == {1: {"n": 1, "s": 1}, 2: {"s": 1}, 3: {"o": 1}}


async def test_a_large_batch_is_one_upsert(store: Store, collection: str) -> None:
    await store.upsert(collection, *[point(n, dense(1, n, 0, 0), n=n) for n in range(1000)])
    assert await store.count(collection) == 1000
    assert (await store.payloads(collection, 999))[999] == {"n": 999}


async def test_no_message_is_too_large(store: Store, collection: str) -> None:
    """Well past gRPC's default of 4 MiB, in both directions."""
    text = "x" * 8_000_000
    await store.upsert(collection, point(1, dense(1, 0, 0, 0), text=text))
    assert (await store.payloads(collection, 1))[1] == {"text": text}


BAD = (point("nonsense", dense(1, 0, 0, 0)), point(900, named(zz=[1, 0, 0, 0])), point(900, dense(1, 0)))


@pytest.mark.parametrize("bad", BAD, ids=["id", "vector name", "dimension"])
async def test_a_bad_point_has_its_whole_batch_refused(store: Store, collection: str, bad: q.PointStruct) -> None:
    good = [point(n, dense(1, 0, 0, 0)) for n in range(200)]
    request = q.UpsertPoints(collection_name=collection, wait=True, points=[*good, bad])
    code, _ = await refusal(store.points.Upsert(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert await store.get(collection, 900) == {}
    # Qdrant checks vectors while it stores them: what came before the bad one, in an order of its own, stays written.
    if store.kind == "embedded" or bad is BAD[0]:
        assert await store.count(collection) == 0


async def test_uuids_are_one_id_in_every_spelling(store: Store, collection: str) -> None:
    canonical = "0b8f2a60-5d6b-4f0e-9c57-2f7d2f1f6a11"
    for n, spelling in enumerate((canonical, canonical.upper(), canonical.replace("-", ""), f"urn:uuid:{canonical}")):
        await store.upsert(collection, point(spelling, dense(1, 0, 0, 0), n=n))
    assert list(await store.get(collection, canonical.upper())) == [canonical]
    assert await store.count(collection) == 1
    await store.points.Delete(q.DeletePoints(collection_name=collection, wait=True, points=these(canonical.upper())))
    assert await store.count(collection) == 0


async def test_vectors_written_as_raw_bytes_are_read_exactly(store: Store) -> None:
    """memq's own way of writing: DenseVector parsed from packed little-endian float32."""
    name = f"memq-test-{secrets.token_hex(6)}"
    await store.create(name, vectors_config=single_vector(384, q.Distance.Dot))
    rows = np.random.default_rng(7).standard_normal((100, 384)).astype("<f4")
    request = q.UpsertPoints(collection_name=name, wait=True)
    for n, row in enumerate(rows):
        added = request.points.add(id=point_id(n + 1))
        added.vectors.vector.dense.MergeFromString(b"\x0a\x80\x0c" + row.tobytes())
    await store.points.Upsert(request)
    found = await store.get(name, *range(1, 101))
    await store.delete(name)
    assert all(list(found[n + 1].vectors.vector.dense.data) == row.tolist() for n, row in enumerate(rows))


async def test_the_older_way_of_writing_a_vector_is_read_too(store: Store, collection: str) -> None:
    old = q.PointStruct(id=point_id(1), vectors=q.Vectors(vector=q.Vector(data=[0, 2, 0, 0])))
    await store.upsert(collection, old)
    vector = (await store.get(collection, 1))[1].vectors.vector
    assert list(vector.dense.data) == [0, 1, 0, 0]


async def test_concurrent_requests_do_not_mix(store: Store, collection: str) -> None:
    async def write_and_read(writer: int) -> None:
        keys = range(writer * 100, writer * 100 + 50)
        await store.upsert(collection, *[point(key, dense(1, writer, 0, 0), writer=writer) for key in keys])
        mine = must(match("writer", integer=writer))
        assert await store.count(collection, mine) == 50
        assert set(await store.nearest(collection, [1, writer, 0, 0], filter=mine, limit=50)) == set(keys)

    await asyncio.gather(*[write_and_read(writer) for writer in range(16)])
    assert await store.count(collection) == 800
