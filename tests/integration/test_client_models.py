"""Models of qdrant_client where a Producer takes dicts. The package itself is never imported by memq."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from memq import Producer
from tests.support.broker import Address, own_address
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from stack.broker import Broker

pytestmark = pytest.mark.integration

DAY = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def worker(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    data = tmp_path_factory.mktemp("data")
    with own_address(broker) as address, running_worker(address, data_dir=data):
        yield address


@pytest.fixture
async def producer(worker: Address) -> AsyncIterator[Producer]:
    async with Producer(worker.url, prefix=worker.prefix) as producer:
        await producer.collections.create("docs", vectors={"": {"size": 2, "distance": "dot"}}, exist_ok=True)
        await producer.indexes.create("docs", "n", models.PayloadSchemaType.INTEGER.value)
        points: list[Any] = [
            models.PointStruct(id=n, vector=[1.0, n / 10], payload={"n": n, "at": DAY.replace(day=n).isoformat()})
            for n in range(1, 10)
        ]
        await producer.upsert("docs", points, wait=True)
        yield producer


def among(*numbers: int) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="n", match=models.MatchAny(any=list(numbers)))])


def odd(*numbers: int) -> models.Filter:
    return models.Filter(
        must=[
            among(*numbers),
            models.Filter(must_not=models.FieldCondition(key="n", match=models.MatchExcept(**{"except": [1, 3, 5]}))),
        ]
    )


async def test_filters(producer: Producer) -> None:
    assert (await producer.count("docs", filter=odd(1, 2, 3))).count == 2
    late = models.Filter(must=[models.FieldCondition(key="at", range=models.DatetimeRange(gte=DAY.replace(day=8)))])
    assert [point.id for point in await producer.scroll("docs", filter=late)] == [8, 9]
    assert [point.id for point in await producer.query("docs", [1.0, 1.0], filter=odd(1, 3, 4))] == [3, 1]
    assert (await producer.facet("docs", "n", filter=odd(5, 6), exact=True)).values[0].value == 5
    await producer.set_payload("docs", filter=odd(5), set={"seen": True}, wait=True)
    assert (await producer.get("docs", [5])).points[0].payload == {
        "n": 5,
        "at": DAY.replace(day=5).isoformat(),
        "seen": True,
    }
    await producer.delete("docs", filter=models.Filter(must=[models.HasIdCondition(has_id=[9])]), wait=True)
    assert (await producer.count("docs")).count == 8


SQUARE = [(12.0, 52.0), (12.0, 53.0), (14.0, 53.0), (14.0, 52.0)]


def ring(*corners: tuple[float, float]) -> models.GeoLineString:
    return models.GeoLineString(points=[models.GeoPoint(lon=lon, lat=lat) for lon, lat in corners])


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (models.FieldCondition(key="text", match=models.MatchTextAny(text_any="dog fox")), [1, 2]),
        (models.FieldCondition(key="text", match=models.MatchPhrase(phrase="quick brown")), [1]),
        (models.FieldCondition(key="place", geo_polygon=models.GeoPolygon(exterior=ring(*SQUARE))), [1]),
        (models.FieldCondition(key="place", geo_polygon=models.GeoPolygon(exterior=ring(*SQUARE, SQUARE[0]))), [1]),
        (models.FieldCondition(key="text", is_empty=True), [3]),
        (models.FieldCondition(key="text", is_empty=False), [1, 2]),
        (models.FieldCondition(key="place", is_null=True), [2]),
    ],
)
async def test_tests_of_a_key(producer: Producer, condition: models.FieldCondition, found: list[int]) -> None:
    await producer.collections.create("texts", 2, exist_ok=True)
    await producer.indexes.create("texts", "text", "text", phrase_matching=True)
    points: list[Any] = [
        models.PointStruct(
            id=1, vector=[1, 0], payload={"text": "quick brown fox", "place": {"lon": 13.4, "lat": 52.5}}
        ),
        models.PointStruct(id=2, vector=[1, 0], payload={"text": "brown and quick dog", "place": None}),
        models.PointStruct(id=3, vector=[1, 0], payload={}),
    ]
    await producer.upsert("texts", points, wait=True)
    page = await producer.scroll("texts", filter=models.Filter(must=[condition]))
    assert [point.id for point in page] == found


async def test_order(producer: Producer) -> None:
    order = models.OrderBy(key="n", direction=models.Direction.DESC, start_from=4)
    assert [point.id for point in await producer.scroll("docs", order_by=order, limit=2)] == [4, 3]


@pytest.mark.parametrize(
    ("asked", "best"),
    [
        ({"query": models.NearestQuery(nearest=[1.0, 1.0])}, 9),
        ({"query": models.NearestQuery(nearest=[1.0, 1.0], mmr=models.Mmr(diversity=0.0))}, 9),
        ({"query": models.RecommendQuery(recommend=models.RecommendInput(positive=[9], negative=[1]))}, 8),
        ({"query": models.OrderByQuery(order_by=models.OrderBy(key="n"))}, 1),
        ({"query": models.OrderByQuery(order_by="n")}, 1),
        ({"query": models.DiscoverQuery(discover=models.DiscoverInput(target=8, context=[]))}, 9),
        (
            {
                "query": models.DiscoverQuery(
                    discover=models.DiscoverInput(target=8, context=models.ContextPair(positive=9, negative=1))
                )
            },
            7,
        ),
        (
            {
                "query": models.RelevanceFeedbackQuery(
                    relevance_feedback=models.RelevanceFeedbackInput(
                        target=[0.0, 1.0],
                        feedback=[
                            models.FeedbackItem(example=9, score=0.9),
                            models.FeedbackItem(example=1, score=0.1),
                        ],
                        strategy=models.NaiveFeedbackStrategy(
                            naive=models.NaiveFeedbackStrategyParams(a=0.0, b=1.0, c=1.0)
                        ),
                    )
                )
            },
            8,
        ),
        (
            {
                "query": models.FusionQuery(fusion=models.Fusion.RRF),
                "prefetch": [
                    models.Prefetch(query=[1.0, 1.0], limit=3),
                    models.Prefetch(query=[1.0, 1.0], filter=among(3, 9), limit=3),
                ],
            },
            9,
        ),
        (
            {
                "query": models.FormulaQuery(
                    formula=models.MultExpression(mult=[-1.0, "$score"]),
                ),
                "prefetch": models.Prefetch(query=[1.0, 1.0], limit=9),
            },
            1,
        ),
        ({"query": [1.0, 1.0], "params": models.SearchParams(exact=True)}, 9),
    ],
    ids=lambda value: type(value["query"]).__name__ if isinstance(value, dict) else str(value),
)
async def test_queries(producer: Producer, asked: dict[str, Any], best: int) -> None:
    assert (await producer.query("docs", **asked, limit=3)).points[0].id == best


def test_memq_does_not_import_the_package() -> None:
    code = "import memq, memq.blocking, sys; assert 'qdrant_client' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
