"""CPU that decoding takes for each kind of container: python -m tests.benchmarks.bodies prints the table.

Each body is filled with its kind up to 8 MiB, what a worker takes, and decoded or refused; those "at the limit" have as
much of it as is accepted. The first is the container that costs least per byte, a list of numbers. The last column
compares the other bodies with as many bytes of it, and those of less than 1 MiB with 1 MiB.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from memq_schemas import headers
from memq_schemas.limits import MAX_CONDITIONS, MAX_CONTAINERS, MAX_FILTER_VALUES, MAX_IDS, MAX_VALUES, MAX_VECTORS
from memq_schemas.multivectors import MAX_ROWS
from memq_worker.errors import MessageError
from memq_worker.garbage import settle_in
from memq_worker.pipeline.decode.bodies import Limits, decode
from tests.unit.worker.fakes import FakeLink, delivery

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 8 * 2**20
LIMITS = Limits(SIZE, 1000)
ROUNDS = 3
FLOOR = 2**20  # bytes that a smaller body counts as


def filled(head: str, item: str, tail: str) -> bytes:
    """Items that are numbered where they say {}, as many as fit."""
    count = (SIZE - len(head) - len(tail)) // (len(item.replace("{}", "0000000")) + 1)
    items = (item.replace("{}", f"{n:07}") for n in range(count)) if "{}" in item else (item for _ in range(count))
    return (head + ",".join(items) + tail).encode()


def vectors() -> bytes:
    vector = base64.b64encode(bytes(4 * 1500)).decode()
    return json.dumps({"points": [{"id": n, "vector": vector} for n in range(1000)]}).encode()


def points(vector: str, count: int = 1000) -> bytes:
    """Return a body of points, each with this JSON as its vector."""
    return ('{"points":[' + ",".join(f'{{"id":{n},"vector":{vector}}}' for n in range(count)) + "]}").encode()


def items(head: str, item: str, tail: str, count: int) -> bytes:
    """Return a body of items, numbered where they say {}."""
    return (head + ",".join(item.replace("{}", f"{n:07}") for n in range(count)) + tail).encode()


def named(vector: str, count: int) -> bytes:
    return points("{" + ",".join(f'"n{n}":{vector}' for n in range(count)) + "}")


def rows(row: str, count: int) -> bytes:
    """Return a body with this many rows in multivectors of 1,000 rows."""
    return points("[" + ",".join([row] * 1000) + "]", count // 1000)


def arrow(column: Callable[[Any], Any], **more: Callable[[Any], Any]) -> bytes:
    """An Arrow message of 1,000 points; each column is made with the module pyarrow."""
    import pyarrow as pa

    made = {"id": pa.array(range(1000), pa.uint64()), "vector": column(pa)}
    table = pa.table(made | {name: make(pa) for name, make in more.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def floats(pa: Any, size: int) -> Any:
    """1,000 dense vectors."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(1000 * size, np.float32)), size)


POINT = '{"points":[{"id":1,"vector":[1],"payload":{'
TEXT = '{"a":[' + ",".join("1" * 97) + "]}"
KEYS = ",".join(f'"k{n}":1' for n in range(95))
FORMULA = '{"query":{"formula":{"sum":['
PREFETCH = '{"query":{"fusion":"rrf"},"prefetch":['
FILTER = '{"vector":[1],"filter":{"must":['
_MANY = MAX_VALUES - 20
KINDS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "vectors of numbers": ("upsert", lambda: points("[" + ",".join(["0.123456"] * 900) + "]")),
    "vectors in base64": ("upsert", vectors),
    "one long text": ("upsert", lambda: filled(POINT + '"a":"', "some words", '"}}]}')),
    "points": ("upsert", lambda: filled('{"points":[', '{"id":1,"vector":[1]}', "]}")),
    "named vectors": ("upsert", lambda: filled('{"points":[{"id":1,"vector":{', '"n{}":[1]', "}}]}")),
    "payload keys": ("upsert", lambda: filled(POINT, '"k{}":1', "}}]}")),
    "payload integers": ("upsert", lambda: filled(POINT + '"a":[', "1", "]}}]}")),
    "payload texts": ("upsert", lambda: filled(POINT + '"a":[', '""', "]}}]}")),
    "payload lists": ("upsert", lambda: filled(POINT + '"a":[', "[]", "]}}]}")),
    "payload objects": ("upsert", lambda: filled(POINT + '"a":[', '{"a":1}', "]}}]}")),
    "ids to delete": ("delete", lambda: filled('{"ids":[', "1", "]}")),
    "keys to unset": ("payload", lambda: filled('{"ids":[1],"unset":[', '"a"', "]}")),
    "keys to set": ("payload", lambda: filled('{"ids":[1],"set":{', '"k{}":1', "}}")),
    "ids to get": ("get", lambda: filled('{"ids":[', "1", "]}")),
    "numbers of a query": ("query", lambda: filled('{"vector":[', "1", "]}")),
    "empty conditions": ("query", lambda: filled(FILTER, "{}", "]}}")),
    "conditions": ("query", lambda: filled(FILTER, '{"key":"a","match":{"value":1}}', "]}}")),
    "values of a condition": ("query", lambda: filled(FILTER + '{"key":"a","match":{"any":[', "1", "]}}]}}")),
    "keys of with_payload": ("query", lambda: filled('{"vector":[1],"with_payload":[', '"a"', "]}")),
    "numbers of a vector": ("upsert", lambda: filled('{"points":[{"id":1,"vector":[', "1", "]}]}")),
    "rows of a multivector": ("upsert", lambda: filled('{"points":[{"id":1,"vector":[', "[1]", "]}]}")),
    "indices of a sparse vector": (
        "upsert",
        lambda: filled('{"points":[{"id":1,"vector":{"s":{"values":[1],"indices":[', "{}", "]}}}]}").replace(
            b"[0", b"[1"
        ),
    ),
    "nested conditions": ("query", lambda: filled(FILTER, '{"must":[{}]}', "]}}")),
    "conditions of min_should": (
        "query",
        lambda: filled('{"vector":[1],"filter":{"min_should":{"min_count":1,"conditions":[', "{}", "]}}}"),
    ),
    "ids of has_id": ("delete", lambda: filled('{"filter":{"must":[{"has_id":[', "1", "]}]}}")),
    "ranges": ("scroll", lambda: filled('{"filter":{"must":[', '{"key":"a","range":{"gt":1}}', "]}}")),
    "points of a polygon": (
        "count",
        lambda: filled(
            '{"filter":{"must":[{"key":"a","geo_polygon":{"exterior":{"points":[', '{"lon":1,"lat":1}', "]}}}]}}"
        ),
    ),
    "prefetches": ("query", lambda: filled('{"query":{"fusion":"rrf"},"prefetch":[', '{"query":[1]}', "]}")),
    "positive examples": ("query", lambda: filled('{"query":{"recommend":{"positive":[', "1", "]}}}")),
    "pairs of a context": (
        "query",
        lambda: filled('{"query":{"context":[', '{"positive":1,"negative":2}', "]}}"),
    ),
    "terms of a formula": ("query", lambda: filled('{"query":{"formula":{"sum":[', "1", "]}}}")),
    "rows of a query": ("query", lambda: filled('{"vector":[', "[1]", "]}")),
    "keys of order_by": ("scroll", lambda: filled('{"order_by":{"key":"a",', '"k{}":1', "}}")),
    "fields of facet": ("facet", lambda: filled('{"key":"a",', '"k{}":1', "}")),
    "options of an index": ("index.create", lambda: filled('{"key":"a","schema":{"type":"text",', '"k{}":1', "}}")),
    "names of an alias": ("alias.create", lambda: filled('{"alias":"a",', '"k{}":1', "}")),
    "unknown fields": ("count", lambda: filled("{", '"k{}":1', "}")),
    "vectors of a collection": ("collections.create", lambda: filled('{"vectors":{', '"n{}":{"size":1}', "}}")),
    "points at the limit": ("upsert", lambda: points("[1]")),
    "ids to get at the limit": ("get", lambda: items('{"ids":[', "1", "]}", MAX_IDS)),
    "ids of has_id at the limit": (
        "delete",
        lambda: items('{"filter":{"must":[{"has_id":[', "1", "]}]}}", MAX_FILTER_VALUES),
    ),
    "conditions at the limit": (
        "query",
        lambda: items(FILTER, '{"key":"a","match":{"value":1}}', "]}}", MAX_CONDITIONS),
    ),
    "named vectors at the limit": ("upsert", lambda: named("[1]", 16)),
    "named vectors in base64 at the limit": ("upsert", lambda: named('"AACAPw=="', 16)),
    "sparse vectors at the limit": ("upsert", lambda: named('{"indices":[1],"values":[1]}', 5)),
    "rows at the limit": ("upsert", lambda: rows("[1]", MAX_VECTORS)),
    "rows in base64 at the limit": ("upsert", lambda: rows('"AACAPw=="', MAX_VECTORS)),
    "8 MiB of named vectors": ("upsert", lambda: named("[" + ",".join(["0.1234"] * 9) + "]", 100)),
    "8 MiB of named vectors in base64": ("upsert", lambda: named('"' + "AACAPwAA" * 8 + '"', 100)),
    "8 MiB of sparse vectors": (
        "upsert",
        lambda: named(
            '{"indices":[' + ",".join(map(str, range(1, 17))) + '],"values":[' + ",".join(["0.1234"] * 16) + "]}", 43
        ),
    ),
    "8 MiB of rows": ("upsert", lambda: rows("[" + ",".join(["0.1234"] * 9) + "]", 125_000)),
    "rows of a query at the limit": ("query", lambda: items('{"vector":[', "[1]", "]}", MAX_ROWS)),
    "numbers of one vector each at the limit": ("upsert", lambda: points("[" + ",".join("1" * 2000) + "]")),
    "payload keys in 1 MiB": ("upsert", lambda: items(POINT, '"k{}":1', "}}]}", 80_000)),
    "payload keys at the limit": ("upsert", lambda: items(POINT, '"k{}":1', "}}]}", _MANY)),
    "payload keys of many points at the limit": ("upsert", lambda: points(f'[1],"payload":{{{KEYS}}}')),
    "payload lists at the limit": ("upsert", lambda: items(POINT + '"a":[', "[]", "]}}]}", MAX_CONTAINERS - 3)),
    "payload objects at the limit": ("upsert", lambda: items(POINT + '"a":[', '{"a":1}', "]}}]}", MAX_CONTAINERS - 3)),
    "payload lists in 256 KiB": ("upsert", lambda: items(POINT + '"a":[', "[]", "]}}]}", 87_000)),
    "named vectors in 256 KiB": ("upsert", lambda: named("[1]", 20)),
    "sparse vectors in 256 KiB": ("upsert", lambda: named('{"indices":[1],"values":[1]}', 6)),
    "keys to set at the limit": ("payload", lambda: items('{"ids":[1],"set":{', '"k{}":1', "}}", _MANY)),
    "terms of a formula at the limit": ("query", lambda: items(FORMULA, '{"abs":1}', "]}}}", MAX_CONTAINERS - 9)),
    "prefetches at the limit": ("query", lambda: items(PREFETCH, '{"query":[1]}', "]}", MAX_CONTAINERS // 2 - 9)),
    "Arrow, vectors": ("upsert", lambda: arrow(lambda pa: floats(pa, 2000))),
    "Arrow, rows of multivectors": (
        "upsert",
        lambda: arrow(lambda pa: pa.array([[[1.0]] * 249] * 1000, pa.list_(pa.list_(pa.float32(), 1)))),
    ),
    "Arrow, sparse vectors": (
        "upsert",
        lambda: arrow(
            lambda pa: pa.array(
                [{"indices": list(range(900)), "values": [1.0] * 900}] * 1000,
                pa.struct({"indices": pa.list_(pa.uint32()), "values": pa.list_(pa.float32())}),
            )
        ),
    ),
    "Arrow, payloads as text at the limit": (
        "upsert",
        lambda: arrow(lambda pa: floats(pa, 1), payload=lambda pa: pa.array([TEXT] * 1000)),
    ),
    "Arrow, payloads as structs at the limit": (
        "upsert",
        lambda: arrow(lambda pa: floats(pa, 1), payload=lambda pa: pa.array([{"a": [1] * 97}] * 1000)),
    ),
}


def measured(operation: str, body: bytes) -> tuple[float, str]:
    """The least CPU of some rounds, in seconds, and the result code."""
    least, code = float("inf"), "accepted"
    for _ in range(ROUNDS):
        kind = headers.JSON if body.startswith(b"{") else headers.ARROW_STREAM
        message = delivery(FakeLink(), 1, body, f"{operation}.docs", content_type=kind)
        started = time.process_time()
        try:
            decode(message, LIMITS)
        except MessageError as error:
            code = error.code.value
        least = min(least, time.process_time() - started)
    return least, code


def main() -> None:
    settle_in()
    rows = [
        "| filled with | operation | MiB | result | CPU | per byte | times the first |",
        "|---|---|---|---|---|---|---|",
    ]
    first = 0.0
    for kind, (operation, make) in KINDS.items():
        body = make()
        seconds, code = measured(operation, body)
        each = seconds / len(body)
        first = first or each
        times = seconds / max(len(body), FLOOR) / first
        size, cost = f"{len(body) / 2**20:.1f}", f"{seconds * 1e3:.0f} ms | {each * 1e9:.1f} ns | {times:.1f}"
        rows.append(f"| {kind} | `{operation}` | {size} | {code} | {cost} |")
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
