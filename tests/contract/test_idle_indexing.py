"""A large collection is indexed while nobody asks, and asking never waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.contract.messages import dense, point
from tests.contract.store import Store, connected
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
    await store.create("large", SIZE)
    for begin in range(0, POINTS, 500):
        rows = ROWS[begin : begin + 500].tolist()
        await store.upsert("large", *[point(begin + n, dense(*row), n=n) for n, row in enumerate(rows)])


async def building(engine: EmbeddedEngine) -> Path:
    """Waits until an index is being built, and says where."""
    shards = engine.data_dir / "shards"
    part = await until(lambda: next(shards.glob("*/temp_segments/*"), None), within=100)
    assert part is not None
    return part.parent


async def nearest(store: Store, n: int) -> int:
    (found,) = await store.nearest("large", ROWS[n].tolist(), limit=1)
    return found


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EmbeddedEngine]:
    options = {"optimize_idle_seconds": 0.5, "optimize_min_points": 1000}
    with embedded_engine(tmp_path / "data", **options) as running:
        yield running


@pytest.fixture
async def store(engine: EmbeddedEngine) -> AsyncIterator[Store]:
    async with connected("embedded", engine.address) as store:
        yield store


async def test_an_idle_engine_indexes_and_answers_as_before(engine: EmbeddedEngine, store: Store) -> None:
    await fill(store)
    await until(lambda: indexing(engine, "ended"), within=100)
    described = await store.describe("large")
    assert described.points_count == POINTS
    assert described.indexed_vectors_count >= POINTS - 1000
    assert [await nearest(store, n) for n in (0, 777, 2999)] == [0, 777, 2999]
    assert engine.stop() == 0


async def test_a_request_ends_the_indexing_instead_of_waiting_for_it(engine: EmbeddedEngine, store: Store) -> None:
    await fill(store)
    temporary = await building(engine)
    before = indexing(engine, "interrupted")
    assert await nearest(store, 1234) == 1234
    assert indexing(engine, "interrupted") == before + 1
    assert not temporary.exists()
    await store.upsert("large", point(9999, dense(*ROWS[0].tolist())))
    assert (await store.describe("large")).points_count == POINTS + 1
    # and it is taken up again
    await until(lambda: indexing(engine, "ended"), within=100)
    assert await nearest(store, 1234) == 1234


async def test_other_collections_are_answered_during_indexing(engine: EmbeddedEngine, store: Store) -> None:
    await fill(store)
    await store.create("small")
    await building(engine)
    # A machine that takes long over the fill has begun and been interrupted before.
    before = indexing(engine, "interrupted")
    assert await store.count("small") == 0
    assert indexing(engine, "interrupted") == before


async def test_a_killed_engine_takes_the_indexing_with_it(engine: EmbeddedEngine, store: Store) -> None:
    await fill(store)
    await building(engine)
    engine.kill()
    engine.start()
    async with connected("embedded", engine.address) as again:
        assert await nearest(again, 42) == 42
        assert (await again.describe("large")).points_count == POINTS
