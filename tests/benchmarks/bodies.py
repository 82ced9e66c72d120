"""CPU that decoding takes for each kind of container: python -m tests.benchmarks.bodies prints the table.

Each body is filled with its kind up to 8 MiB, what a worker takes, and decoded or refused. The first is the cheapest
of the bodies that producers send.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import TYPE_CHECKING

from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.bodies import Limits, decode
from tests.unit.worker.fakes import FakeLink, delivery

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 8 * 2**20
LIMITS = Limits(SIZE, 1000)
ROUNDS = 3


def filled(head: str, item: str, tail: str) -> bytes:
    """Items that are numbered where they say {}, as many as fit."""
    count = (SIZE - len(head) - len(tail)) // (len(item.replace("{}", "0000000")) + 1)
    items = (item.replace("{}", f"{n:07}") for n in range(count)) if "{}" in item else (item for _ in range(count))
    return (head + ",".join(items) + tail).encode()


def vectors() -> bytes:
    vector = base64.b64encode(bytes(4 * 1500)).decode()
    return json.dumps({"points": [{"id": n, "vector": vector} for n in range(1000)]}).encode()


POINT = '{"points":[{"id":1,"vector":[1],"payload":{'
FILTER = '{"vector":[1],"filter":{"must":['
KINDS: dict[str, tuple[str, Callable[[], bytes]]] = {
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
    "rows within the limit": (
        "upsert",
        lambda: b'{"points":[{"id":1,"vector":[' + b",".join([b"[1]"] * 249_990) + b"]}]}",
    ),
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
}


def measured(operation: str, body: bytes) -> tuple[float, str]:
    """The least CPU of some rounds, in seconds, and the result code."""
    least, code = float("inf"), "accepted"
    for _ in range(ROUNDS):
        message = delivery(FakeLink(), 1, body, f"{operation}.docs")
        started = time.process_time()
        try:
            decode(message, LIMITS)
        except MessageError as error:
            code = error.code.value
        least = min(least, time.process_time() - started)
    return least, code


def main() -> None:
    rows = [
        "| filled with | operation | MiB | result | CPU | per byte | relative to the first |",
        "|---|---|---|---|---|---|---|",
    ]
    cheapest = 0.0
    for kind, (operation, make) in KINDS.items():
        body = make()
        seconds, code = measured(operation, body)
        each = seconds / len(body)
        cheapest = cheapest or each
        size, cost = f"{len(body) / 2**20:.1f}", f"{seconds * 1e3:.0f} ms | {each * 1e9:.1f} ns | {each / cheapest:.1f}"
        rows.append(f"| {kind} | `{operation}` | {size} | {code} | {cost} |")
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
