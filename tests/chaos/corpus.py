"""Hostile messages: each has to be refused with a reason, none may be stored, logged or deadly."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.chaos.checker import CANARY
from tests.chaos.ledger import COLLECTION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

UPSERT = f"upsert.{COLLECTION}"


@dataclass(frozen=True, slots=True)
class Hostile:
    kind: str
    body: bytes
    routing_key: str = UPSERT
    properties: dict[str, Any] = field(default_factory=dict)
    family: str = "known attacks"


def _upsert(**point: Any) -> bytes:
    given = {"id": 1_000_001, "vector": [1.0, 2.0, 3.0, 4.0], "payload": {"run": CANARY}, **point}
    return json.dumps({"points": [given]}).encode()


def _vector(text: str) -> bytes:
    return f'{{"points":[{{"id":1000002,"vector":[1,2,3,{text}],"payload":{{"run":"{CANARY}"}}}}]}}'.encode()


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"\xff\xfe\x00 " + CANARY.encode(),
    "cut short": _upsert()[:-9],
    "two documents": _upsert() + _upsert(),
    "a byte order mark": b"\xef\xbb\xbf" + _upsert(),
    "UTF-16": _upsert().decode().encode("utf-16"),
    "a list": b"[" + _upsert() + b"]",
    "null": b"null",
    "deep": b'{"points":' + b"[" * 100_000,
    "deep payload": b'{"points":[{"id":1,"vector":[1,2,3,4],"payload":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}]}",
    "NaN": _vector("NaN"),
    "Infinity": _vector("-Infinity"),
    "1e999": _vector("1e999"),
    "beyond float32": _vector("1e39"),
    "a string in a vector": _vector(f'"{CANARY}"'),
    "true in a vector": _vector("true"),
    "null in a vector": _vector("null"),
    "no points": b'{"points":[]}',
    "no vector": json.dumps({"points": [{"id": 1, "payload": {"run": CANARY}}]}).encode(),
    "an empty vector": _upsert(vector=[]),
    "too few dimensions": _upsert(vector=[1.0]),
    "too many dimensions": _upsert(vector=[1.0] * 5),
    "a named vector": _upsert(vector={CANARY: [1.0, 2.0, 3.0, 4.0]}),
    "base64 of no floats": _upsert(vector="AAAAAAA="),
    "base64 of NaN": _upsert(vector="AADAfwAAAAAAAAAAAAAAAA=="),
    "no base64": _upsert(vector=CANARY),
    "a negative id": _upsert(id=-1),
    "an id beyond 64 bits": _upsert(id=2**64),
    "an id with a fraction": _upsert(id=1.5),
    "an id that is no UUID": _upsert(id=CANARY),
    "an id that is null": _upsert(id=None),
    "a lone surrogate": b'{"points":[{"id":1,"vector":[1,2,3,4],"payload":{"a":"\\ud800"}}]}',
    "NUL in a field name": _upsert(**{"id\x00": 2}),
    "an unknown field": _upsert(versoin=3),
    "a reserved field": _upsert(payload={"_version": 99, "run": CANARY}),
    "a huge integer in a payload": _upsert(payload={"n": 10**30, "run": CANARY}),
    "a negative version": _upsert(version=-1),
    "a payload that is a list": _upsert(payload=[CANARY]),
    "a second point that is bad": json.dumps(
        {"points": [{"id": 1_000_003, "vector": [1, 2, 3, 4]}, {"id": 1_000_004, "vector": [1]}]}
    ).encode(),
}

OTHERS: tuple[Hostile, ...] = (
    Hostile("gzip", gzip.compress(_upsert()), properties={"content_encoding": "gzip"}),
    Hostile("pickle", b"\x80\x04\x95.", properties={"content_type": "application/x-python-serialize"}),
    Hostile("YAML", b"points: []", properties={"content_type": "application/yaml"}),
    Hostile("no collection", _upsert(), "upsert"),
    Hostile("a path for a collection", _upsert(), "upsert.../../etc"),
    Hostile("a collection that is not there", _upsert(), "upsert.nowhere"),
    Hostile("no operation of ours", _upsert(), f"payload.{COLLECTION}.x"),
    Hostile("delete by an empty filter", b'{"filter":{}}', f"delete.{COLLECTION}"),
    Hostile("delete by nothing", b"{}", f"delete.{COLLECTION}"),
    Hostile("delete by ids and filter", b'{"ids":[1],"filter":{"must":[]}}', f"delete.{COLLECTION}"),
    Hostile("a payload for everything", b'{"filter":{},"set":{"a":1}}', f"payload.{COLLECTION}"),
    Hostile("a payload that sets a version", b'{"ids":[1],"set":{"_version":9}}', f"payload.{COLLECTION}"),
    Hostile("a forged count of attempts", _upsert(vector=[1.0]), properties={"headers": {"x-retry-count": "many"}}),
    Hostile("a forged count of deliveries", _upsert(vector=[1.0]), properties={"headers": {"x-delivery-count": 99}}),
    Hostile("a forged reason", _upsert(vector=[1.0]), properties={"headers": {"x-first-failed-at": 7}}),
    Hostile("a terminal's escapes", _upsert(vector=[1.0]), properties={"correlation_id": "\x1b[2J\n" + "x" * 99}),
)


def corpus(chance: Random, mutations: int) -> list[Hostile]:
    """Every known one, and `mutations` good bodies with a few bytes changed to what no JSON text may have."""
    found = [Hostile(kind, body) for kind, body in BODIES.items()] + list(OTHERS)
    for _ in range(mutations):
        body = bytearray(_upsert())
        for _ in range(chance.randint(1, 4)):
            body[chance.randrange(len(body))] = chance.choice((0, 1, 8, 27, 31, 128, 192, 255))
        found.append(Hostile("mutated bytes", bytes(body), family="mutated bodies"))
    chance.shuffle(found)
    return found


def oversized(each: int) -> Iterator[Hostile]:
    number = b"0.12345678,"
    many = json.dumps({"points": [{"id": n, "vector": [1, 2, 3, 4]} for n in range(2000)]}).encode()
    huge = b'{"points":[{"id":1,"vector":[1,2,3,4],"payload":{"a":"' + b"x" * (15 * 2**20)  # RabbitMQ 4 takes 16
    found = (
        Hostile("a vector of a million numbers", b'{"points":[{"id":1,"vector":[' + number * 10**6 + b"1]}]}"),
        Hostile("a million empty points", b'{"points":[' + b"{}," * 10**6 + b"{}]}"),
        Hostile("a body of 15 MiB", huge),
        Hostile("2000 points", many),
        Hostile("headers of 100 kB", _upsert(vector=[1.0]), properties={"headers": {"x-h": "h" * 100_000}}),
        Hostile("a zip bomb", gzip.compress(bytes(50 * 2**20)), properties={"content_encoding": "gzip"}),
    )
    for _ in range(each):
        for hostile in found:
            yield replace(hostile, family=hostile.kind)


def raw_frames(chance: Random, count: int) -> Iterator[bytes]:
    """What a client that speaks no AMQP, or a broken one, sends first."""
    greeting = b"AMQP\x00\x00\x09\x01"
    yield b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield b"AMQP\x00\x01\x00\x00"
    for _ in range(count):
        yield greeting + chance.randbytes(chance.randint(1, 400))
