from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import grpc
import pytest
from qdrant_client import grpc as q

from tests.contract.messages import between, dense, has_id, match, must, named, near_id, point, vector_map
from tests.contract.store import refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.contract.store import Store


@pytest.fixture
async def named_collection(store: Store) -> AsyncIterator[str]:
    name = f"memq-test-{secrets.token_hex(6)}"
    await store.create(name, vectors_config=vector_map(text=(3, q.Distance.Cosine), image=(2, q.Distance.Euclid)))
    yield name
    await store.delete(name)


async def test_each_named_vector_is_searched_on_its_own(store: Store, named_collection: str) -> None:
    await store.upsert(
        named_collection,
        point(1, named(text=[1, 0, 0], image=[5, 5])),
        point(2, named(text=[0, 1, 0], image=[0, 0])),
        point(3, named(image=[1, 1])),
    )
    assert await store.nearest(named_collection, [1, 0.1, 0], using="text") == [1, 2]
    assert await store.nearest(named_collection, [0, 0], using="image") == [2, 3, 1]


async def test_named_vectors_come_back_under_their_names(store: Store, named_collection: str) -> None:
    await store.upsert(named_collection, point(1, named(text=[0, 0, 2], image=[3, 4])))
    vectors = (await store.get(named_collection, 1))[1].vectors.vectors.vectors
    assert {name: list(vectors[name].dense.data) for name in vectors} == {"text": [0, 0, 1], "image": [3, 4]}


async def test_only_the_asked_vector_is_returned(store: Store, named_collection: str) -> None:
    await store.upsert(named_collection, point(1, named(text=[0, 0, 2], image=[3, 4])))
    only = q.WithVectorsSelector(include=q.VectorsSelector(names=["image"]))
    (found,) = (await store.points.Scroll(q.ScrollPoints(collection_name=named_collection, with_vectors=only))).result
    assert set(found.vectors.vectors.vectors) == {"image"}


async def test_query_by_id_leaves_the_point_itself_out_and_keeps_the_filter(store: Store, collection: str) -> None:
    await store.upsert(collection, *[point(n, dense(1, n / 10, 0, 0), even=n % 2 == 0) for n in range(6)])
    even = must(match("even", boolean=True))
    assert await store.nearest(collection, [], query=near_id(0), filter=even) == [2, 4]


async def test_threshold_offset_and_limit_act_together(store: Store, collection: str) -> None:
    await store.upsert(collection, *[point(n, dense(1, n / 4, 0, 0)) for n in range(9)])
    assert await store.nearest(collection, [1, 0, 0, 0], score_threshold=0.6, offset=2) == [2, 3, 4, 5]
    assert await store.nearest(collection, [1, 0, 0, 0], score_threshold=0.6, offset=2, limit=3) == [2, 3, 4]


async def test_filters_combine(store: Store, collection: str) -> None:
    await store.upsert(collection, *[point(n, dense(1, 0, 0, 0), n=n, tag="ab"[n % 2]) for n in range(10)])
    found = q.Filter(
        must=[between("n", gte=2, lt=8)],
        should=[match("tag", keyword="a"), has_id(3)],
        must_not=[match("n", integers=q.RepeatedIntegers(integers=[4]))],
    )
    scrolled = await store.points.Scroll(q.ScrollPoints(collection_name=collection, filter=found))
    assert [each.id.num for each in scrolled.result] == [2, 3, 6]


async def test_a_nested_filter_matches_within_one_element(store: Store, collection: str) -> None:
    await store.upsert(
        collection,
        point(1, dense(1, 0, 0, 0), diet=[{"food": "leaves", "likes": True}, {"food": "meat", "likes": False}]),
        point(2, dense(1, 0, 0, 0), diet=[{"food": "leaves", "likes": False}, {"food": "meat", "likes": True}]),
    )
    likes_meat = must(match("food", keyword="meat"), match("likes", boolean=True))
    nested = q.Condition(nested=q.NestedCondition(key="diet", filter=likes_meat))
    scrolled = await store.points.Scroll(q.ScrollPoints(collection_name=collection, filter=must(nested)))
    assert [each.id.num for each in scrolled.result] == [2]


async def test_datetime_and_geo_filters(store: Store, collection: str) -> None:
    await store.upsert(
        collection,
        point(1, dense(1, 0, 0, 0), at="2024-05-01T00:00:00Z", place={"lon": 13.4, "lat": 52.5}),
        point(2, dense(1, 0, 0, 0), at="2025-05-01T00:00:00Z", place={"lon": 2.35, "lat": 48.85}),
    )
    later = q.DatetimeRange()
    later.gt.FromJsonString("2024-12-31T00:00:00Z")
    in_time = q.Condition(field=q.FieldCondition(key="at", datetime_range=later))
    berlin = q.GeoRadius(center=q.GeoPoint(lon=13.4, lat=52.52), radius=10_000)
    in_place = q.Condition(field=q.FieldCondition(key="place", geo_radius=berlin))
    assert await store.count(collection, must(in_time)) == 1
    assert await store.count(collection, must(in_place)) == 1
    assert await store.count(collection, must(in_time, in_place)) == 0


async def test_a_malformed_filter_key_is_named(store: Store, collection: str) -> None:
    request = q.CountPoints(collection_name=collection, filter=must(match("a[", keyword="x")))
    code, details = await refusal(store.points.Count(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "a[" in details


async def test_scroll_pages_through_everything_once(store: Store, collection: str) -> None:
    await store.upsert(collection, *[point(n, dense(1, 0, 0, 0)) for n in range(25)])
    seen: list[int] = []
    page = await store.points.Scroll(q.ScrollPoints(collection_name=collection))
    seen += [each.id.num for each in page.result]
    while page.HasField("next_page_offset"):
        following = q.ScrollPoints(collection_name=collection, offset=page.next_page_offset)
        page = await store.points.Scroll(following)
        seen += [each.id.num for each in page.result]
    assert seen == list(range(25))


async def test_an_index_changes_no_answer_and_is_described(store: Store, collection: str) -> None:
    await store.upsert(collection, *[point(n, dense(1, 0, 0, 0), tag="ab"[n % 2], n=n) for n in range(10)])
    found = must(match("tag", keyword="a"), between("n", lt=6))
    before = await store.count(collection, found)
    common = {"collection_name": collection, "wait": True}
    for field, kind in (("tag", q.FieldType.FieldTypeKeyword), ("n", q.FieldType.FieldTypeInteger)):
        index = q.CreateFieldIndexCollection(field_name=field, field_type=kind, **common)
        await store.points.CreateFieldIndex(index)
    assert await store.count(collection, found) == before == 3
    assert set((await store.describe(collection)).payload_schema) == {"tag", "n"}
    await store.points.DeleteFieldIndex(q.DeleteFieldIndexCollection(field_name="n", **common))
    assert set((await store.describe(collection)).payload_schema) == {"tag"}


async def test_health_is_serving_for_both_kinds_of_check(store: Store) -> None:
    check = store.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert await check(b"") == b"\x08\x01"
    assert (await store.qdrant.HealthCheck(q.HealthCheckRequest())).title == "qdrant - vector search engine"
