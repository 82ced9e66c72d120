"""A large collection is indexed while nobody asks, and asking never waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import grpc as q

from tests.contract.conftest import Store, connect
from tests.contract.messages import dense, near, point, single_vector
from tests.support.engine import EmbeddedEngine, embedded_engine
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# Past the 10,000 KB that the engine itself finds worth an index.
SIZE, POINTS = 1024, 3000
ROWS = np.random.default_rng(3).standard_normal((POINTS, SIZE)).astype("<f4")


def indexing(engine: EmbeddedEngine, what: str) -> int:
    return engine.log_path.read_text().count(f"optimization {what}")


async def fill(store: Store) -> None:
    wanted = q.CreateCollection(collection_name="large", vectors_config=single_vector(SIZE))
    await store.collections.Create(wanted)
    for begin in range(0, POINTS, 500):
        request = q.UpsertPoints(collection_name="large", wait=True)
        for n in range(begin, begin + 500):
            request.points.append(point(n, dense(*ROWS[n].tolist()), n=n))
        await store.points.Upsert(request)


async def building(engine: EmbeddedEngine) -> Path:
    """Waits until an index is being built, and says where."""
    temporary = next((engine.data_dir / "shards").iterdir()) / "temp_segments"
    await until(lambda: temporary.exists() and any(temporary.iterdir()), within=100)
    return temporary


async def nearest(store: Store, n: int) -> int:
    query = q.QueryPoints(collection_name="large", query=near(*ROWS[n].tolist()), limit=1)
    return (await store.points.Query(query)).result[0].id.num


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EmbeddedEngine]:
    options = {"optimize_idle_seconds": 0.5, "optimize_min_points": 1000}
    with embedded_engine(tmp_path / "data", **options) as running:
        yield running


@pytest.fixture
async def store(engine: EmbeddedEngine) -> AsyncIterator[Store]:
    connected = connect("embedded", engine.address)
    yield connected
    await connected.channel.close()


async def info(store: Store) -> Any:
    return (await store.collections.Get(q.GetCollectionInfoRequest(collection_name="large"))).result


async def test_an_idle_engine_indexes_and_answers_as_before(engine: EmbeddedEngine, store: Store) -> None:
    await fill(store)
    await until(lambda: indexing(engine, "ended"), within=100)
    described = await info(store)
    assert described.points_count == POINTS
    assert described.indexed_vectors_count >= POINTS - 1000
    assert [await nearest(store, n) for n in (0, 777, 2999)] == [0, 777, 2999]
    assert engine.stop() == 0


async def test_a_request_ends_the_indexing_instead_of_waiting_for_it(engine: EmbeddedEngine, store: Store) -> None:
    await fill(store)
    temporary = await building(engine)
    assert await nearest(store, 1234) == 1234
    assert indexing(engine, "given up") == 1
    assert not temporary.exists()
    extra = q.UpsertPoints(collection_name="large", wait=True, points=[point(9999, dense(*ROWS[0].tolist()))])
    await store.points.Upsert(extra)
    assert (await info(store)).points_count == POINTS + 1
    # and it is taken up again
    await until(lambda: indexing(engine, "ended"), within=100)
    assert await nearest(store, 1234) == 1234


async def test_other_collections_are_answered_during_indexing(engine: EmbeddedEngine, store: Store) -> None:
    await fill(store)
    small = q.CreateCollection(collection_name="small", vectors_config=single_vector(4))
    await store.collections.Create(small)
    await building(engine)
    count = await store.points.Count(q.CountPoints(collection_name="small"))
    assert count.result.count == 0
    assert not indexing(engine, "given up")


async def test_a_killed_engine_takes_the_indexing_with_it(engine: EmbeddedEngine, store: Store) -> None:
    await fill(store)
    await building(engine)
    engine.kill()
    engine.start()
    again = connect("embedded", engine.address)
    assert await nearest(again, 42) == 42
    assert (await info(again)).points_count == POINTS
    await again.channel.close()
