"""Bodies that used to get another answer than the page says, against a real worker."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from tests.support.broker import Address, own_address
from tests.support.wire import Caller, caller
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.broker import Broker

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def worker(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    data = tmp_path_factory.mktemp("data")
    with own_address(broker) as address, running_worker(address, data_dir=data) as process:
        yield address
        assert process.terminate() == 0, process.text


@pytest.fixture
def client(worker: Address) -> Iterator[Caller]:
    with caller(worker.url, worker.prefix) as found:
        yield found


@pytest.fixture
def docs(client: Caller) -> str:
    name = f"docs-{uuid.uuid4().hex}"
    assert client.ask(f"collections.create.{name}", {"size": 2})["status"] == 200
    points = [{"id": n, "vector": [1, n], "payload": {"n": n}} for n in (1, 2)]
    assert client.write(f"upsert.{name}", {"points": points})["status"] == 200
    return name


def payloads(client: Caller, docs: str) -> dict[int, Any]:
    return {each["id"]: each["payload"] for each in client.ask(f"get.{docs}", {"ids": [1, 2]})["result"]}


@pytest.mark.parametrize("change", [{"set": {"seen": True}}, {"unset": ["n"]}, {"overwrite": {}, "set": {"a": 1}}])
def test_a_payload_change_is_whole_or_refused_whole(client: Caller, docs: str, change: dict[str, Any]) -> None:
    before = payloads(client, docs)
    reply = client.write(f"payload.{docs}", {"ids": [1, 404, 2], **change})
    assert (reply["status"], reply["error"]["code"]) == (404, "unknown_point")
    assert "ids[1]" in reply["error"]["message"]
    assert payloads(client, docs) == before


def test_deadlines(client: Caller, docs: str) -> None:
    soon = time.time() + 10
    late = client.ask(f"count.{docs}", {}, headers={"x-deadline": int(soon)})
    assert (late["status"], late["error"]["code"]) == (422, "invalid")
    assert "x-deadline" in late["error"]["message"]
    for deadline in (int(soon * 1000), str(int(soon * 1000))):
        assert client.ask(f"count.{docs}", {}, headers={"x-deadline": deadline})["result"] == {"count": 2}


FAR = {"must": [{"key": "at", "range": {"lte": "9999-12-31T23:59:59-01:00"}}]}
NAME = "n" * 300
REFUSED: dict[str, tuple[str, Any, str]] = {
    "a date-time whose UTC is beyond the year 9999": ("count", {"filter": FAR}, "invalid"),
    "a long path": ("query", {"vector": [1, 0], "with_payload": [NAME]}, "invalid"),
    "a long path to unset": ("payload", {"ids": [1], "unset": [NAME]}, "invalid"),
    "a long key in a filter": ("count", {"filter": {"must": [{"is_empty": {"key": NAME}}]}}, "invalid"),
    "a long name of a vector": ("query", {"vector": [1, 0], "using": NAME}, "invalid"),
    "a long name in has_vector": ("count", {"filter": {"must": [{"has_vector": NAME}]}}, "invalid"),
    "a long name in an upsert": ("upsert", {"points": [{"id": 1, "vector": {NAME: [1, 0]}}]}, "invalid_vector"),
    "many names": ("upsert", {"points": [{"id": 1, "vector": {f"{n}": [1] for n in range(101)}}]}, "invalid_vector"),
    "many keys": ("query", {"vector": [1, 0], "with_payload": ["a"] * 101}, "invalid"),
    "many conditions": ("count", {"filter": {"must": [{}] * 1001}}, "invalid"),
    "data after the end": ("upsert", b'{"points":[{"id":9,"vector":[1,0]}]}{}', "malformed"),
    "a filter that selects every point": ("delete", {"filter": {"must_not": [{"has_id": []}]}}, "invalid"),
    "a filter that is nothing but null": ("delete", {"filter": {"must": [{"has_id": None}]}}, "invalid"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_says_so_without_the_servers_own_words(client: Caller, docs: str, kind: str) -> None:
    operation, body, code = REFUSED[kind]
    reply = client.write(f"{operation}.{docs}", body)
    assert reply["error"]["code"] == code
    message = reply["error"]["message"]
    for word in ("dict", "Filter", "instance", "valid ", "int |", "str", "/data", "bool"):
        assert word not in message.replace("string", "")
    assert client.ask(f"count.{docs}", {})["result"] == {"count": 2}


def test_a_second_zstd_frame_is_refused(client: Caller, docs: str) -> None:
    frame = zstandard.compress(json.dumps({"points": [{"id": 9, "vector": [1, 0]}]}).encode())
    reply = client.write(f"upsert.{docs}", frame + zstandard.compress(b"{}"), content_encoding="zstd")
    assert reply["error"]["code"] == "malformed"
    assert client.write(f"upsert.{docs}", frame, content_encoding="zstd")["result"] == {"upserted": 1}


def test_a_lone_surrogate_is_named_with_its_point(client: Caller, docs: str) -> None:
    points = [{"id": n, "vector": [1, 0], "payload": {"a": "\ud800" if n == 3 else "x"}} for n in range(5)]
    reply = client.write(f"upsert.{docs}", {"points": points})
    assert reply["error"]["code"] == "malformed"
    assert "points[3]" in reply["error"]["message"]
    assert "surrogate" in reply["error"]["message"]


def test_a_body_of_nulls_is_the_body_without_them(client: Caller, docs: str) -> None:
    names = ("limit", "offset", "score_threshold", "filter", "with_payload", "with_vector", "using")
    full = dict.fromkeys(names) | {"vector": [1, 0]}
    assert client.ask(f"query.{docs}", full)["result"] == client.ask(f"query.{docs}", {"vector": [1, 0]})["result"]
