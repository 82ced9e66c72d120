"""Scroll, facet, indexes and aliases, from the producer through RabbitMQ and a worker to the embedded engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from memq import Producer
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
            points = [
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
