from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.engine import SharedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.engine import EmbeddedEngine


@pytest.fixture(params=["fast", pytest.param("stock", marks=pytest.mark.slow)])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either way in which frames can go, for producers made in the test; what they promise is the same."""
    monkeypatch.setenv("MEMQ_TRANSPORT", request.param)
    return request.param


@pytest.fixture(scope="session")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedEngine]:
    shared = SharedEngine(tmp_path_factory.mktemp("engine"), flush_seconds=0.2)
    yield shared
    shared.close()


@pytest.fixture
def engine(shared_engine: SharedEngine) -> Iterator[EmbeddedEngine]:
    """An empty store that the test may kill: what it has is on disk after a fifth of a second."""
    yield shared_engine.take()
    shared_engine.give_back()
