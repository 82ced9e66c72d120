"""Several queries in one message: a real broker, a real worker, the embedded engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from memq import Producer
from memq.errors import BrokerUnavailable, RemoteError
from memq_schemas import Operation
from memq_schemas.limits import MAX_QUERIES
from tests.support.responder import SILENCE, responder
from tests.support.wire import Caller, caller
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.broker import Address
    from tests.support.engine import EmbeddedEngine
    from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.integration

POINTS = 40
LONG = "x" * 60_000


@pytest.fixture
def worker(amqp: Address, engine: EmbeddedEngine) -> Iterator[WorkerProcess]:
    with running_worker(amqp, qdrant_url=engine.url, max_reply_bytes=300_000) as process:
        yield process


@pytest.fixture
def client(amqp: Address, worker: WorkerProcess) -> Iterator[Caller]:
    with caller(amqp.url, amqp.prefix) as found:
        assert found.ask("collections.create.docs", {"size": 2, "distance": "dot"})["status"] == 200
        points = [{"id": n, "vector": [float(n), 1.0], "payload": {"n": n}} for n in range(POINTS)]
        points.append({"id": POINTS, "vector": [1000.0, 1.0], "payload": {"text": LONG}})
        assert found.write("upsert.docs", {"points": points})["status"] == 200
        yield found


def parts(client: Caller, queries: list[Any]) -> list[dict[str, Any]]:
    reply = client.ask("queries.docs", {"queries": queries})
    assert reply["status"] == 200, reply
    return reply["result"]


def test_each_query_has_the_answer_that_it_has_alone(client: Caller) -> None:
    queries: list[dict[str, Any]] = [
        {"vector": [1.0, 0.5], "limit": 3, "filter": {"must": [{"key": "n", "range": {"lt": 20}}]}},
        {"query": {"recommend": {"positive": [1], "negative": [7]}}, "limit": 2, "with_payload": False},
        {
            "query": {"fusion": "rrf"},
            "prefetch": [{"query": [1.0, 0.0], "limit": 3}, {"query": [1.0, 0.5], "limit": 2}],
            "with_payload": ["n"],
        },
        {"vector": [1.0, 0.5], "group_by": "n", "group_size": 1, "limit": 2},
        {"vector": [1.0]},
        {"vector": [1.0, 1.0], "using": "nowhere"},
        {"query": {"order_by": "n"}},
    ]
    alone = [client.ask("query.docs", query) for query in queries]
    found = parts(client, queries)
    assert found == [{key: value for key, value in each.items() if key != "elapsed_ms"} for each in alone]
    assert [each["status"] == 200 for each in found] == [True, True, True, True, False, False, False]


def test_a_message_that_is_none_is_refused_whole(client: Caller) -> None:
    for queries, field in (
        ([], "queries"),
        ([{"vector": [1.0, 1.0]}] * (MAX_QUERIES + 1), "queries"),
        ([{"vector": [1.0, 1.0]}, {"vector": [1.0, 1.0], "limit": 0}], "queries[1].limit"),
        ([{"vector": [1.0, 1.0]}, {"limit": 1}], "queries[1]"),
        ([{"vector": []}], "queries[0].vector"),
        ({"vector": [1.0, 1.0]}, "queries"),
    ):
        reply = client.ask("queries.docs", {"queries": queries})
        assert reply["error"]["code"] in ("invalid", "empty_vector", "invalid_vector"), reply
        assert reply["error"]["message"].startswith(field), reply
    assert client.ask("queries.docs", {})["error"]["code"] == "invalid"


def test_all_results_together_are_no_larger_than_one_reply(client: Caller) -> None:
    long: dict[str, Any] = {"vector": [1.0, 0.0], "limit": 1}
    short: dict[str, Any] = {"vector": [1.0, 0.0], "limit": 1, "with_payload": ["n"]}
    assert len(client.ask("query.docs", long)["result"][0]["payload"]["text"]) == len(LONG)
    found = parts(client, [short, *[long] * 7])
    assert found[0]["status"] == 200
    assert [each["error"]["code"] for each in found[1:]] == ["too_large"] * 7


async def test_a_producer_packs_what_is_asked_together(amqp: Address, client: Caller, worker: WorkerProcess) -> None:
    async with Producer(amqp.url, prefix=amqp.prefix) as producer:
        vectors = [[1.0, n / 10] for n in range(20)]
        alone = [await producer.query("docs", vector, limit=3, with_payload=["n"]) for vector in vectors]
        asked = (producer.query("docs", vector, limit=3, with_payload=["n"]) for vector in vectors)
        wrong = producer.query("docs", [1.0])
        long = (producer.query("docs", [1.0, 0.0], limit=1) for _ in range(3))
        found = await asyncio.gather(*asked, wrong, *long, return_exceptions=True)
    assert [getattr(each, "points", None) for each in found[:20]] == [each.points for each in alone]
    assert isinstance(found[20], RemoteError)
    assert found[20].code == "wrong_dimension"
    assert [len(each.points[0].payload["text"]) for each in found[21:]] == [len(LONG)] * 3  # type: ignore[union-attr]
    worker.until("request answered", count=3, queries=8)


async def test_queries_that_wait_when_the_producer_closes_end_with_an_error(amqp: Address) -> None:
    async with responder(amqp.url, amqp.prefix) as standin:
        standin.on(Operation.QUERIES, lambda _: SILENCE)
        async with Producer(amqp.url, prefix=amqp.prefix) as producer:
            waiting = [asyncio.create_task(producer.query("docs", [1.0])) for _ in range(2)]
            await standin.until(1)
        for each in waiting:
            with pytest.raises(BrokerUnavailable):
                await each


async def test_workers_of_an_older_release_are_asked_one_by_one(amqp: Address) -> None:
    async with responder(amqp.url, amqp.prefix) as standin, Producer(amqp.url, prefix=amqp.prefix) as producer:
        standin.on(Operation.QUERY, lambda _: [])
        found = await asyncio.gather(*(producer.query("docs", [1.0]) for _ in range(8)))
        assert [each.points for each in found] == [[]] * 8
        assert len(standin.bodies(Operation.QUERIES)) == 1
        assert len(standin.bodies(Operation.QUERY)) == 8
