"""Queries with prefetches, lookups and groups, where one part of the request has an effect on another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from qdrant_client import grpc as q

from tests.contract.messages import dense, named, near, near_id, point, point_id, vector_map
from tests.contract.store import refusal

if TYPE_CHECKING:
    from tests.contract.store import Store

RRF = q.Query(fusion=q.Fusion.RRF)
NEAR_ONE = near(1, 0, 0, 0)


def by_id(key: int) -> Any:
    return q.VectorInput(id=point_id(key))


def recommend(strategy: Any, *positive: int) -> Any:
    return q.Query(recommend=q.RecommendInput(positive=[by_id(key) for key in positive], strategy=strategy))


async def fill(store: Store, collection: str) -> None:
    await store.upsert(collection, *[point(n, dense(1, n / 10, 0, 0), n=n, parity=n % 2) for n in range(6)])


async def ids(store: Store, collection: str, **request: Any) -> list[int]:
    answer = await store.points.Query(q.QueryPoints(collection_name=collection, **request))
    return [hit.id.num for hit in answer.result]


@pytest.mark.parametrize(
    "names_two",
    [
        q.PrefetchQuery(query=near_id(2)),
        q.PrefetchQuery(query=q.Query(discover=q.DiscoverInput(target=by_id(2), context=q.ContextInput()))),
        q.PrefetchQuery(prefetch=[q.PrefetchQuery(query=near_id(2))], query=RRF),
    ],
    ids=["nearest", "discover", "nested"],
)
async def test_a_point_that_one_prefetch_starts_from_is_found_by_none(
    store: Store, collection: str, names_two: Any
) -> None:
    await fill(store, collection)
    found = await ids(store, collection, prefetch=[q.PrefetchQuery(query=NEAR_ONE), names_two], query=RRF)
    assert set(found) == {0, 1, 3, 4, 5}


async def test_a_lookup_in_the_same_collection_leaves_its_point_out(store: Store, collection: str) -> None:
    await fill(store, collection)
    place = q.LookupLocation(collection_name=collection)
    assert set(await ids(store, collection, query=near_id(2), lookup_from=place)) == {0, 1, 3, 4, 5}


async def test_a_lookup_without_ids_is_never_made(store: Store, collection: str) -> None:
    await fill(store, collection)
    missing = q.LookupLocation(collection_name="missing")
    assert await ids(store, collection, query=NEAR_ONE, lookup_from=missing, limit=1) == [0]
    request = q.QueryPoints(collection_name=collection, query=near_id(1), lookup_from=missing)
    assert (await refusal(store.points.Query(request)))[0] is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("strategy", [None, q.RecommendStrategy.BestScore, q.RecommendStrategy.SumScores])
async def test_examples_without_the_vector_are_left_out(store: Store, strategy: Any) -> None:
    await store.create("two", vectors_config=vector_map(a=(2, q.Distance.Dot), b=(2, q.Distance.Dot)))
    try:
        await store.upsert("two", *[point(n, named(a=[1, n], b=[1, 0])) for n in range(3)], point(9, named(b=[1, 1])))
        with_nine = await ids(store, "two", query=recommend(strategy, 0, 9), using="a")
        assert with_nine == await ids(store, "two", query=recommend(strategy, 0), using="a")
        alone = q.QueryPoints(collection_name="two", query=recommend(strategy, 9), using="a")
        if strategy is None:
            assert (await refusal(store.points.Query(alone)))[0] is grpc.StatusCode.INVALID_ARGUMENT
        elif strategy == q.RecommendStrategy.SumScores:
            assert len((await store.points.Query(alone)).result) == 3
        # It is an error for what has one vector to start from.
        request = q.QueryPoints(collection_name="two", query=near_id(9), using="a")
        assert (await refusal(store.points.Query(request)))[0] is grpc.StatusCode.NOT_FOUND
    finally:
        await store.delete("two")


@pytest.mark.parametrize("query", [{}, {"query": q.Query(order_by=q.OrderBy(key="n"))}], ids=["none", "order_by"])
async def test_a_threshold_of_a_prefetch_needs_scores(store: Store, collection: str, query: Any) -> None:
    await fill(store, collection)
    await store.points.CreateFieldIndex(
        q.CreateFieldIndexCollection(
            collection_name=collection, field_name="n", field_type=q.FieldType.FieldTypeInteger, wait=True
        )
    )
    prefetch = q.PrefetchQuery(score_threshold=0.5, **query)
    request = q.QueryPoints(collection_name=collection, prefetch=[prefetch], query=NEAR_ONE)
    code, details = await refusal(store.points.Query(request))
    assert (code, "score_threshold" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_groups_are_filled_beyond_the_limit_of_a_prefetch(store: Store, collection: str) -> None:
    await fill(store, collection)
    await store.upsert(collection, point(6, dense(1, 0, 0, 0)))  # in no group, and the nearest beside 0
    request = q.QueryPointGroups(
        collection_name=collection,
        prefetch=[q.PrefetchQuery(query=NEAR_ONE, limit=1)],
        query=NEAR_ONE,
        group_by="parity",
        group_size=1,
        limit=2,
    )
    groups = (await store.points.QueryGroups(request)).result.groups
    assert {group.id.unsigned_value for group in groups} == {0, 1}


def best(**fields: Any) -> Any:
    return q.Query(recommend=q.RecommendInput(strategy=q.RecommendStrategy.BestScore, **fields))


@pytest.mark.parametrize("fields", [{}, {"positive": [by_id(9)]}, {"negative": [by_id(9)]}], ids=["none", "+", "-"])
async def test_the_best_score_of_no_examples_is_nan(store: Store, fields: dict[str, Any]) -> None:
    """Every point with the vector is found, with a threshold none. Point 9 has another vector alone."""
    vectors = vector_map(a=(2, q.Distance.Dot), b=(2, q.Distance.Dot))
    sparse = q.SparseVectorConfig(map={"s": q.SparseVectorParams()})
    await store.create("two", vectors_config=vectors, sparse_vectors_config=sparse)
    try:
        await store.upsert("two", *[point(n, named(a=[1, n]), g=n % 2) for n in range(3)], point(9, named(b=[1, 1])))
        request = q.QueryPoints(collection_name="two", query=best(**fields), using="a")
        hits = (await store.points.Query(request)).result
        assert sorted(hit.id.num for hit in hits) == [0, 1, 2]
        assert all(math.isnan(hit.score) for hit in hits)
        assert await ids(store, "two", query=best(**fields), using="a", score_threshold=-9.0) == []
        assert await ids(store, "two", query=best(**fields), using="s") == []
        prefetch = [q.PrefetchQuery(query=best(**fields), using="a")]
        assert await ids(store, "two", prefetch=prefetch, query=near(0, 1), using="a") == [2, 1, 0]
        few = [q.PrefetchQuery(query=near(0, 1), using="a", limit=2)]
        assert sorted(await ids(store, "two", prefetch=few, query=best(**fields), using="a")) == [1, 2]
        grouped = q.QueryPointGroups(
            collection_name="two", query=best(**fields), using="a", group_by="g", limit=2, group_size=2
        )
        groups = (await store.points.QueryGroups(grouped)).result.groups
        assert sorted(hit.id.num for group in groups for hit in group.hits) == [0, 1, 2]
    finally:
        await store.delete("two")


async def test_a_hit_that_is_infinitely_far(store: Store) -> None:
    """A known difference: the engine leaves it out, as it does a NaN score."""
    config = q.VectorsConfig(params=q.VectorParams(size=1, distance=q.Distance.Dot, datatype=q.Datatype.Float16))
    await store.create("halves", vectors_config=config)
    try:
        await store.upsert("halves", point(1, dense(-70_000)), point(2, dense(70_000)), point(3, dense(1)))
        assert await store.nearest("halves", [1.0]) == ([2, 3] if store.kind == "embedded" else [2, 3, 1])
    finally:
        await store.delete("halves")
