"""Scroll, facet, indexes and aliases, from the producer through RabbitMQ and a worker to the embedded engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from memq import PointRow, Producer
from memq.errors import InvalidRequest, RemoteError
from memq_schemas.vectors import to_array
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

POINTS = 25


@pytest.fixture
async def producer(amqp: Address, engine: EmbeddedEngine) -> AsyncIterator[Producer]:
    with running_worker(amqp, qdrant_url=engine.url):
        async with Producer(amqp.url, prefix=amqp.prefix) as producer:
            await producer.collections.create("docs", 2, "dot")
            points: list[PointRow] = [
                {"id": number, "vector": [number, 1], "payload": {"n": number, "lang": "en" if number % 3 else "de"}}
                for number in range(POINTS)
            ]
            await producer.upsert("docs", points, wait=True)
            yield producer


async def test_pages_hold_every_point_once(producer: Producer) -> None:
    found: list[int | str] = []
    offset: int | str | None = None
    while True:
        page = await producer.scroll("docs", limit=7, offset=offset, with_vector="base64")
        found += [point.id for point in page]
        for point in page:
            assert isinstance(point.vector, str)
            assert np.array_equal(to_array(point.vector), np.array([point.id, 1], "f4"))
        offset = page.next
        if offset is None:
            break
    assert found == list(range(POINTS))


async def test_indexes_make_order_and_facets(producer: Producer) -> None:
    for ask in (producer.scroll("docs", order_by="n"), producer.facet("docs", "lang")):
        with pytest.raises(RemoteError) as refused:
            await ask
        assert refused.value.code == "rejected_by_store"
    await producer.indexes.create("docs", "n", "integer", range=True, lookup=False)
    await producer.indexes.create("docs", "lang", "keyword")
    page = await producer.scroll("docs", limit=3, order_by={"key": "n", "direction": "desc", "start_from": 20})
    assert [(point.id, point.order_value) for point in page] == [(20, 20), (19, 19), (18, 18)]
    assert page.next is None
    values = await producer.facet("docs", "lang", exact=True)
    assert [(each.value, each.count) for each in values] == [("en", 16), ("de", 9)]
    assert (await producer.count("docs", exact=False)).count == POINTS
    await producer.indexes.delete("docs", "lang")
    with pytest.raises(RemoteError):
        await producer.facet("docs", "lang")


async def test_an_alias_moves_between_collections(producer: Producer) -> None:
    await producer.collections.create("docs-2", 3, "dot")
    assert (await producer.aliases.create("current", "docs")).changed
    assert (await producer.count("current")).count == POINTS
    with pytest.raises(RemoteError) as refused:
        await producer.aliases.create("current", "docs-2")
    assert refused.value.code == "collection_exists"
    answer = await producer.aliases.switch("current", "docs-2")
    assert (answer.changed, answer.before) == (True, "docs")
    await producer.upsert("current", [{"id": 1, "vector": [1, 2, 3]}], wait=True)
    assert (await producer.count("docs-2")).count == 1
    assert (await producer.aliases.list()).aliases == {"current": "docs-2"}
    assert not (await producer.aliases.delete("current", "docs")).changed
    assert (await producer.aliases.delete("current", "docs-2")).changed
    with pytest.raises(RemoteError) as gone:
        await producer.count("current")
    assert gone.value.code == "unknown_collection"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"limit": 0}, "limit", id="limit"),
        pytest.param({"order_by": {"key": "n", "direction": "up"}}, "direction", id="direction"),
        pytest.param({"order_by": "n", "offset": 1}, "offset", id="offset and order"),
    ],
)
async def test_a_bad_page_is_refused_by_its_field(producer: Producer, fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest, match=field):
        await producer.scroll("docs", **fields)  # pyright: ignore[reportArgumentType]


async def test_a_page_ends_where_its_reply_would_be_too_large(producer: Producer) -> None:
    """Each point has 1 MB of text, a reply 8 MB at most."""
    await producer.collections.create("large", 1, "dot")
    for number in range(20):
        await producer.upsert("large", [{"id": number, "vector": [1], "payload": {"text": "x" * 900_000}}])
    await producer.upsert("large", [{"id": 20, "vector": [1]}], wait=True)
    found: list[int | str] = []
    offset: int | str | None = None
    pages = 0
    while True:
        page = await producer.scroll("large", limit=1000, offset=offset)
        assert page.points
        found += [point.id for point in page]
        pages += 1
        offset = page.next
        if offset is None:
            break
    assert found == list(range(21))
    assert pages >= 3


KINDS: list[dict[str, Any]] = [
    {"query": [1, 0]},
    {"query": 3},
    {"query": {"nearest": [1, 0], "mmr": {"diversity": 0.5}}},
    {"query": {"recommend": {"positive": [3], "negative": [4]}}},
    {"query": {"recommend": {"positive": [3], "strategy": "best_score"}}},
    {"query": {"discover": {"target": 3, "context": [{"positive": 4, "negative": 5}]}}},
    {"query": {"context": [{"positive": 4, "negative": 5}]}},
    {
        "query": {
            "relevance_feedback": {
                "target": [1, 0],
                "feedback": [{"example": 3, "score": 0.9}, {"example": [0, 1], "score": 0.1}],
                "strategy": {"naive": {"a": 1, "b": 1, "c": 1}},
            }
        }
    },
    {"query": {"sample": "random"}},
    {"query": {"fusion": "rrf"}, "prefetch": [{"query": [1, 0]}, {"query": [0, 1]}]},
    {"query": {"fusion": "dbsf"}, "prefetch": [{"query": [1, 0]}, {"query": [0, 1]}]},
    {"query": {"rrf": {"k": 60, "weights": [2, 1]}}, "prefetch": [{"query": [1, 0]}, {"query": [0, 1]}]},
    {
        "query": [0, 1],
        "prefetch": {"query": [1, 0], "limit": 5, "filter": {"must": [{"key": "lang", "match": {"value": "en"}}]}},
    },
    {
        "query": {"formula": {"sum": ["$score", {"mult": [0.5, {"key": "lang", "match": {"value": "en"}}]}]}},
        "prefetch": {"query": [1, 0]},
    },
    {"vector": [1, 0], "params": {"exact": True, "hnsw_ef": 16}},
    {"query": 3, "lookup_from": {"collection": "docs"}},
]


@pytest.mark.parametrize("fields", KINDS, ids=lambda fields: str(next(iter(fields.items())))[:60])
async def test_every_kind_of_query_is_answered(producer: Producer, fields: dict[str, Any]) -> None:
    answer = await producer.query("docs", **fields)
    assert len(answer) > 0


async def test_hits_are_grouped_by_a_payload_key(producer: Producer) -> None:
    answer = await producer.query("docs", [1, 0], 2, group_by="lang", group_size=2)
    assert [(each.group, each.id) for each in answer] == [("de", 24), ("de", 21), ("en", 23), ("en", 22)]


async def test_models_of_qdrant_client_are_read(producer: Producer) -> None:
    models = pytest.importorskip("qdrant_client.http.models")
    answer = await producer.query(
        "docs",
        query=models.FusionQuery(fusion=models.Fusion.RRF),
        prefetch=[models.Prefetch(query=[1.0, 0.0], limit=3), models.Prefetch(query=[0.0, 1.0], limit=3)],
        filter=models.Filter(must=[models.FieldCondition(key="lang", match=models.MatchValue(value="en"))]),
    )
    assert answer.points
    assert all(each.payload is not None and each.payload["lang"] == "en" for each in answer)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"query": {"fusion": "mean"}}, "fusion"),
        ({"query": {"recommend": {"negative": [1]}}}, "positive"),
        ({"query": {"rrf": {"k": 0}}}, "k"),
        ({"query": {"formula": {"mean": [1]}}, "prefetch": {"query": 1}}, "formula"),
        ({"query": {"indices": [1, 1], "values": [1, 2]}}, "duplicate index"),
        ({"query": [[1, 0], [1]]}, "rows"),
        ({"vector": [1, 0], "query": 1}, "exactly one"),
        ({"query": 1, "prefetch": {"prefetch": {"query": 1}}}, "query"),
    ],
)
async def test_a_bad_query_is_refused_before_it_is_sent(producer: Producer, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        await producer.query("docs", **fields)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"query": [1, 0, 0]}, "wrong_dimension"),
        ({"query": [1, 0], "using": "nope"}, "unknown_vector"),
        ({"query": 999}, "unknown_point"),
        ({"query": {"fusion": "rrf"}}, "rejected_by_store"),
        ({"query": {"order_by": {"key": "unindexed"}}}, "rejected_by_store"),
        ({"query": {"formula": "missing"}, "prefetch": {"query": 1}}, "rejected_by_store"),
        ({"query": 1, "lookup_from": {"collection": "nope"}}, "unknown_collection"),
    ],
)
async def test_what_the_store_refuses_is_a_typed_error(producer: Producer, fields: dict[str, Any], code: str) -> None:
    with pytest.raises(RemoteError) as refused:
        await producer.query("docs", **fields)
    assert refused.value.code == code
