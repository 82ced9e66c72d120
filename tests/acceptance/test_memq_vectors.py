"""Kinds of vectors, queries in Qdrant's grammar, facets and single vectors, on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import own_address
from tests.support.command import Memq
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stack.broker import Broker

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

USERS = ["ann", "ann", "bob", "ann", "bob", "cy"]
WORDS = {"indices": [7, 3], "values": [1.0, 0.5]}


@pytest.fixture(scope="module")
def memq(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memq]:
    """Six notes with a dense vector `text`, of which three have a sparse vector `words` too."""
    home = tmp_path_factory.mktemp("notes")
    with own_address(broker) as address, running_worker(address, data_dir=tmp_path_factory.mktemp("store")):
        memq = Memq(address, tmp_path_factory.mktemp("state"))
        contract = {"vectors": {"text": {"size": 2, "distance": "dot"}}, "sparse_vectors": {"words": {}}}
        memq.ok("collections", "create", "notes", "--options", json.dumps(contract))
        memq.ok("index", "create", "user", "-c", "notes", "--type", "keyword")
        rows = [
            {
                "id": n,
                "vector": {"text": [n, 1.0], **({"words": WORDS} if n % 2 else {})},
                "payload": {"user": user},
            }
            for n, user in enumerate(USERS, start=1)
        ]
        file = home / "notes.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        memq.ok("upsert", file, "-c", "notes", "--wait")
        yield memq


def found(memq: Memq, *arguments: object) -> list[int]:
    return [point["id"] for point in memq.json("query", "-c", "notes", *arguments)["points"]]


def test_facets_count_the_values_of_a_key(memq: Memq) -> None:
    assert memq.ok("facet", "user", "-c", "notes", "--exact") == "3\tann\n2\tbob\n1\tcy\n"
    others = json.dumps({"must_not": [{"key": "user", "match": {"value": "ann"}}]})
    (most,) = memq.json("facet", "user", "-c", "notes", "--filter", others, "--limit", 1)["values"]
    assert most == {"value": "bob", "count": 2}
    assert "index" in memq.fails(1, "facet", "nokey", "-c", "notes")


def test_queries_take_the_grammar_of_qdrant(memq: Memq, tmp_path: Path) -> None:
    both = tmp_path / "both.json"
    both.write_text(
        json.dumps([{"query": [1.0, 0.0], "using": "text", "limit": 6}, {"query": WORDS, "using": "words", "limit": 1}])
    )
    fused = found(memq, "--query", '{"fusion": "rrf"}', "--prefetch", f"@{both}", "--limit", 2)
    assert 6 in fused
    assert found(memq, "--query", '{"recommend": {"positive": [5], "negative": [1]}}', "--using", "text")[0] == 6
    assert sorted(found(memq, "--vector-json", json.dumps(WORDS), "--using", "words")) == [1, 3, 5]
    groups = memq.json(
        *("query", "-c", "notes", "--vector-json", "[1.0, 0.0]", "--using", "text"),
        *("--group-by", "user", "--group-size", 1, "--limit", 3),
    )["points"]
    assert [(point["group"], point["id"]) for point in groups] == [("cy", 6), ("bob", 5), ("ann", 4)]
    lines = memq.ok(
        *("query", "-c", "notes", "--vector-json", "[1.0, 0.0]", "--using", "text"),
        *("--group-by", "user", "--limit", 1, "--fields", ""),
    ).splitlines()
    assert lines[0].split("\t")[:3] == ["6.0000", "cy", "6"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--query", '{"fusion": "rrf"}', "--prefetch", "@nowhere.json"), "--prefetch"),
        (("--query", "{", "--using", "text"), "--query"),
        (("--query", "[1.0, 0.0]", "--vector-json", "[1.0, 0.0]"), "--query"),
        (("--vector-json", "[1.0, 0.0]", "--params", "[]"), "--params"),
    ],
)
def test_bad_options_of_a_query_are_named(memq: Memq, arguments: tuple[str, ...], named: str) -> None:
    assert named in memq.fails(2, "query", "-c", "notes", *arguments)


def test_single_vectors_are_replaced_and_removed(memq: Memq, tmp_path: Path) -> None:
    file = tmp_path / "text.jsonl"
    file.write_text('{"id": 2, "vector": {"text": [9.0, 9.0]}, "payload": {"user": "nobody"}}\n')
    memq.ok("upsert", file, "-c", "notes", "--vectors-only", "--wait")
    (point,) = memq.json("get", "-c", "notes", "2", "--with-vector")["points"]
    assert point["payload"] == {"user": "ann"}
    assert point["vector"] == {"text": [9.0, 9.0]}
    memq.ok("delete", "-c", "notes", "1", "--vectors", "words", "--wait")
    (point,) = memq.json("get", "-c", "notes", "1", "--with-vector")["points"]
    assert set(point["vector"]) == {"text"}
    assert memq.ok("count", "notes") == "6\n"
    assert "--vectors" in memq.fails(2, "delete", "-c", "notes", "1", "--vectors", ",")
    assert "--vectors-only" in memq.fails(2, "upsert", file, "-c", "notes", "--vectors-only", "--create")
