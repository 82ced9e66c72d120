"""Groups of hits: the engine asks for them in rounds, as a server does, so prefetches find the same groups."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import grpc as q

from tests.contract.messages import dense, near, point
from tests.contract.store import Store, connected
from tests.support.engine import embedded_engine
from tests.support.qdrant import NoQdrantError, qdrant_server

if TYPE_CHECKING:
    from pathlib import Path

POINTS = 40
QUERIES = 60
KEYS: list[Any] = [0, 1, 2, 3, "x", "y", [4, 4], ["z"], None, 1.5, True, {"x": 1}]

Groups = list[tuple[int | str, list[tuple[int, float]]]]


async def ask(store: Store, request: Any) -> Groups:
    found = (await store.points.QueryGroups(request)).result.groups
    return [
        (getattr(group.id, group.id.WhichOneof("kind")), [(hit.id.num, round(hit.score, 3)) for hit in group.hits])
        for group in found
    ]


class Random:
    """Points and queries of a seed. No two scores are equal: a server orders those by chance."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.points: list[Any] = []
        for number in range(1, POINTS + 1):
            key = self._random.choice(KEYS)
            self.points.append(point(number, dense(*self._numbers()), n=number, **({} if key is None else {"g": key})))
        self.queries = [self._query() for _ in range(QUERIES)]

    def _numbers(self) -> list[float]:
        return [self._random.gauss(0, 1) for _ in range(4)]

    def _filter(self) -> Any:
        if self._random.random() < 0.5:
            return None
        above = q.Range(gt=self._random.randint(0, 30))
        return q.Filter(must=[q.Condition(field=q.FieldCondition(key="n", range=above))])

    def _prefetches(self, depth: int = 0) -> list[Any]:
        if self._random.random() < 0.4:
            return []
        return [
            q.PrefetchQuery(
                query=near(*self._numbers()),
                limit=self._random.choice([1, 2, 3, 5, 10, 30]),
                filter=self._filter(),
                prefetch=self._prefetches(depth + 1) if depth < 2 else [],
            )
            for _ in range(self._random.choice([1, 2, 3]))
        ]

    def _query(self) -> Any:
        return q.QueryPointGroups(
            collection_name="random",
            query=near(*self._numbers()),
            prefetch=self._prefetches(),
            filter=self._filter(),
            group_by="g",
            group_size=self._random.choice([1, 2, 3, 5]),
            limit=self._random.choice([1, 2, 3, 6, 10]),
        )

    async def answers(self, store: Store, distance: Any) -> list[Groups]:
        config = q.VectorsConfig(params=q.VectorParams(size=4, distance=distance))
        await store.create("random", vectors_config=config)
        try:
            await store.upsert("random", *self.points)
            return [await ask(store, each) for each in self.queries]
        finally:
            await store.delete("random")


@pytest.mark.slow
async def test_the_engine_finds_the_groups_that_a_server_finds(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    try:
        with qdrant_server(tmp_path / "server") as address, embedded_engine(tmp_path / "engine") as engine:
            async with connected("qdrant", address) as server, connected("embedded", engine.address) as embedded:
                for seed, distance in enumerate([q.Distance.Dot, q.Distance.Euclid, q.Distance.Cosine] * 2):
                    asked = Random(seed)
                    wanted = await asked.answers(server, distance)
                    for number, got in enumerate(await asked.answers(embedded, distance)):
                        assert got == wanted[number], (seed, asked.queries[number])
    except NoQdrantError as missing:
        pytest.skip(str(missing))


async def test_hits_without_a_group_take_the_place_of_others(store: Store, collection: str) -> None:
    """A value that makes no group, such as a decimal, is asked for anew in each round."""
    await store.upsert(collection, point(1, dense(1, 0, 0, 0), g=1.5), point(2, dense(1, 1, 0, 0), g="a"))
    request = q.QueryPointGroups(collection_name=collection, query=near(1, 0, 0, 0), group_by="g", group_size=1)
    request.limit = 1
    assert await ask(store, request) == []
    request.limit = 2
    assert await ask(store, request) == [("a", [(2, 0.707)])]


async def test_groups_are_filled_in_later_rounds(store: Store, collection: str) -> None:
    points = [point(n, dense(1, n / 10, 0, 0), g="near" if n < 9 else "far") for n in range(1, 13)]
    await store.upsert(collection, *points)
    request = q.QueryPointGroups(
        collection_name=collection,
        prefetch=[q.PrefetchQuery(query=near(1, 0, 0, 0), limit=1)],
        query=near(1, 0, 0, 0),
        group_by="g",
        group_size=2,
        limit=2,
    )
    found = {key: [hit for hit, _ in hits] for key, hits in await ask(store, request)}
    assert found == {"near": [1, 2], "far": [9, 10]}
