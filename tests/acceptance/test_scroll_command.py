"""`memq scroll` and `memq upsert` as counterparts: what is exported and sent again are the same points."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.support.broker import own_address
from tests.support.command import Memq
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stack.broker import Broker

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

KINDS = (".jsonl", *(pytest.param(kind, marks=pytest.mark.slow) for kind in (".parquet", ".arrow")))
POINTS = 25


@pytest.fixture(scope="module")
def memq(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memq]:
    with own_address(broker) as address, running_worker(address, data_dir=tmp_path_factory.mktemp("store")):
        yield Memq(address, tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def docs(memq: Memq, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Dense points, some without a payload and some with a version."""
    file = tmp_path_factory.mktemp("docs") / "docs.jsonl"
    rows: list[dict[str, Any]] = [
        {"id": n, "vector": [n / 7, 1.0], **({"payload": {"n": n, "deep": {"a": [1, None, "ü"]}}} if n % 3 else {})}
        for n in range(1, POINTS + 1)
    ]
    for row in rows[::4]:
        row["version"] = row["id"] * 10
    file.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    memq.ok("collections", "create", "docs", "--size", "2", "--distance", "dot")
    memq.ok("upsert", file, "-c", "docs", "--wait")
    return "docs"


def exported(memq: Memq, collection: str, *options: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in memq.ok("scroll", "-c", collection, *options).splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_sent_again_makes_the_same_points(memq: Memq, docs: str, tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"export{kind}"
    assert memq.json("scroll", "-c", docs, file, "--page", "7")["points"] == POINTS
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name]
    copy = f"copy{kind.replace('.', '-')}"
    memq.ok("collections", "create", copy, "--size", "2", "--distance", "dot")
    memq.ok("upsert", file, "-c", copy, "--wait")
    assert exported(memq, copy, "--with-vector") == exported(memq, docs, "--with-vector")


EVERY_KIND = {
    "vectors": {
        "": {"size": 2, "distance": "dot"},
        "rows": {"size": 2, "multivector_config": {"comparator": "max_sim"}},
    },
    "sparse_vectors": {"words": {}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_of_every_kind_survive_an_export(memq: Memq, tmp_path: Path, kind: str) -> None:
    rows: list[dict[str, Any]] = [
        {"": [1.5, 2.0], "rows": [[1.0, 0.0], [0.0, 1.0]], "words": {"indices": [4, 70000], "values": [0.25, 2.0]}},
        {"": [2.5, 2.0]},
        {"words": {"indices": [2**32 - 1], "values": [1.0]}},
        {"rows": [[0.6, 0.8]]},
    ]
    points = [
        {"id": f"00000000-0000-0000-0000-{n:012}", "vector": vector, "payload": {"n": n}, "version": n}
        for n, vector in enumerate(rows)
    ]
    source = tmp_path / "points.jsonl"
    source.write_bytes(b"".join(orjson.dumps(point, option=orjson.OPT_APPEND_NEWLINE) for point in points))
    names = [f"{name}{kind.replace('.', '-')}" for name in ("every", "copy-of-every")]
    for name in names:
        memq.ok("collections", "create", name, "--options", json.dumps(EVERY_KIND))
    memq.ok("upsert", source, "-c", names[0], "--wait")
    file = tmp_path / f"export{kind}"
    memq.ok("scroll", "-c", names[0], file, "--page", "3")
    memq.ok("upsert", file, "-c", names[1], "--wait")
    found = [exported(memq, name, "--with-vector") for name in names]
    assert found[0] == found[1]
    # A point with the unnamed vector alone has no names.
    assert [list(row) for row in rows] == [
        sorted(point["vector"]) if isinstance(point["vector"], dict) else [""] for point in found[1]
    ]


def test_a_selection_goes_to_standard_output(memq: Memq, docs: str) -> None:
    chosen = exported(memq, docs, "--filter", json.dumps({"must": [{"has_id": [3, 4]}]}), "--fields", "n")
    assert chosen == [{"id": 3, "payload": {}}, {"id": 4, "payload": {"n": 4}}]


def test_a_file_that_exists_is_replaced_on_request_alone(memq: Memq, docs: str, tmp_path: Path) -> None:
    file = tmp_path / "docs.jsonl"
    file.write_text("mine")
    assert "--restart" in memq.fails(2, "scroll", "-c", docs, file)
    assert file.read_text() == "mine"
    memq.ok("scroll", "-c", docs, file, "--restart")
    assert len(file.read_text().splitlines()) == POINTS
    assert ".jsonl" in memq.fails(2, "scroll", "-c", docs, tmp_path / "docs.csv")


def test_options_indexes_and_aliases(memq: Memq, docs: str) -> None:
    given = {
        "vectors": {"text": {"size": 3}, "rows": {"size": 2, "multivector_config": {"comparator": "max_sim"}}},
        "sparse_vectors": {"words": {"modifier": "idf"}},
        "metadata": {"model": "m-1"},
    }
    assert memq.json("collections", "create", "all", "--options", json.dumps(given))["created"] is True
    change = {"hnsw_config": {"m": 8}, "metadata": {"model": None, "draft": True}}
    assert memq.json("collections", "update", "all", "--options", json.dumps(change))["updated"] is True
    described = memq.json("collections", "describe", "all")["collection"]
    assert described["sparse_vectors"]["words"] == {"modifier": "idf"}
    assert described["hnsw_config"]["m"] == 8
    assert described["metadata"] == {"draft": True}
    told = memq.ok("collections", "describe", "all")
    assert {"rows: 2 dimensions, cosine, list of vectors", "words: sparse, idf"} <= {
        line.split("\t")[1] for line in told.splitlines()
    }

    assert memq.json("index", "create", "n", "-c", docs, "--type", "integer", "--options", '{"range": false}')[
        "accepted"
    ]
    assert memq.json("collections", "describe", docs)["collection"]["indexes"]["n"]["type"] == "integer"
    assert "n\tinteger" in memq.ok("index", "list", "-c", docs)
    assert "tokenizer" in memq.fails(
        2, "index", "create", "n", "-c", docs, "--type", "integer", "--options", '{"tokenizer": "word"}'
    )
    memq.ok("index", "delete", "n", "-c", docs)
    assert memq.ok("index", "list", "-c", docs) == ""

    assert memq.json("alias", "create", "current", "-c", docs)["changed"] is True
    assert memq.ok("count", "-c", "current") == f"{POINTS}\n"
    assert "alias.switch" in memq.fails(1, "alias", "create", "current", "-c", "all")
    assert memq.json("alias", "switch", "current", "-c", "all")["before"] == docs
    assert memq.ok("alias", "list") == "current\tall\n"
    memq.ok("alias", "delete", "current", "-c", "all")
    assert memq.ok("alias", "list") == ""
