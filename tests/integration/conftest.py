from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.engine import EmbeddedEngine, embedded_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["fast", "stock"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either way in which frames can go, for producers made in the test; what they promise is the same."""
    monkeypatch.setenv("MEMQ_TRANSPORT", request.param)
    return request.param


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EmbeddedEngine]:
    """A store of the test's own, which it may kill: what it has is on disk after a fifth of a second."""
    with embedded_engine(tmp_path / "data", flush_seconds=0.2) as engine:
        yield engine
