"""Moving a collection from one store to another, as docs/how-to/upgrading.md describes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from memq import Producer
from tests.support.command import Memq
from tests.support.engine import embedded_engine
from tests.support.worker import COMMAND, WorkerProcess, running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.broker import Address

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]


@pytest.mark.slow
async def test_points_move_from_the_embedded_engine_to_a_server(amqp: Address, tmp_path: Path) -> None:
    memq = Memq(amqp, tmp_path)
    rows: list[Any] = [
        {"id": n, "vector": [float(n), 1.0, 0.5], "payload": {"n": n, "text": "é"}, **({"version": n} if n % 2 else {})}
        for n in range(250)
    ]
    file = tmp_path / "notes.jsonl"
    with running_worker(amqp, data_dir=tmp_path / "embedded"):
        async with Producer(amqp.url, prefix=amqp.prefix) as producer:
            await producer.collections.create("notes", 3, "dot")
            await producer.upsert("notes", rows, wait=True)
        memq.ok("scroll", "-c", "notes", file, "--with-vector")
    with embedded_engine(tmp_path / "server") as server:
        url = f"http://{server.address}"
        settings = {"amqp_url": amqp.url, "prefix": amqp.prefix, "qdrant_url": url, "metrics_port": 0}
        refused = WorkerProcess(settings)
        assert refused.ended() == 2, "its store is not the announced one"
        adopted = WorkerProcess(settings, program=[COMMAND, "store", "adopt", "--yes"])
        assert adopted.ended() == 0, adopted.text
        with running_worker(amqp, qdrant_url=url):
            memq.ok("collections", "create", "notes", "--size", "3", "--distance", "dot")
            memq.ok("upsert", file, "-c", "notes", "--wait")
            moved = points(memq.ok("scroll", "-c", "notes", "--with-vector"))
    assert moved == points(file.read_text())
    assert {name: row.get("version") for name, row in moved.items()} == {row["id"]: row.get("version") for row in rows}


def points(lines: str) -> dict[int, Any]:
    """Return rows of JSON Lines by id."""
    return {row["id"]: row for row in map(json.loads, lines.splitlines())}
