"""What another language sees: a real broker, a real worker, pika, and the README. Nothing of memq is imported."""

import base64
import json
import os
import re
import struct
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pika
import pika.exceptions
import pytest

from tests.support.broker import Address, own_address
from tests.support.wire import Caller, caller
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from stack.broker import Broker

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "schemas/README.md").read_text("utf-8")
NAMESPACE = uuid.UUID("8f0e6a52-1c0b-5d8e-9a57-3b8f4d2c6e10")
DERIVED = str(uuid.uuid5(NAMESPACE, "docs\x1f42"))


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


# One worker for all tests of the module: each has a collection of its own.
@pytest.fixture(scope="module")
def address(broker: "Broker") -> Iterator[Address]:
    with own_address(broker) as found:
        yield found


@pytest.fixture(scope="module")
def worker(address: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with running_worker(address, data_dir=tmp_path_factory.mktemp("data")) as process:
        yield address
        assert process.terminate() == 0, process.text


@pytest.fixture
def client(worker: Address) -> Iterator[Caller]:
    with caller(worker.url, worker.prefix) as found:
        found.dead()
        yield found


@pytest.fixture
def docs(client: Caller) -> str:
    """A collection of two dimensions with a point of every form."""
    name = f"docs.{uuid.uuid4().hex}"
    created = client.ask(f"collections.create.{name}", {"size": 2, "distance": "cosine"})
    assert created["status"] == 200, created
    assert created["result"] == {"created": True}
    points = [
        {"id": 1, "vector": [1.0, 0.0], "payload": {"lang": "en", "year": 2024}},
        {"id": 2**64 - 1, "vector": packed(0.0, 1.0), "payload": {"lang": "de", "year": 2019}},
        {"id": DERIVED, "vector": packed(1.0, 1.0), "payload": {"lang": "en", "year": 2020}, "version": 3},
    ]
    stored = client.write(f"upsert.{name}", {"points": points})
    assert stored["status"] == 200, stored
    assert stored["result"] == {"upserted": 3}
    return name


def ids(reply: dict[str, Any]) -> list[Any]:
    assert reply["status"] == 200, reply
    return [point["id"] for point in reply["result"]]


def test_query_returns_the_nearest_first(client: Caller, docs: str) -> None:
    reply = client.ask(f"query.{docs}", {"vector": [1.0, 0.1]})
    assert ids(reply) == [1, DERIVED, 2**64 - 1]
    assert reply["elapsed_ms"] > 0
    first = reply["result"][0]
    assert first["payload"] == {"lang": "en", "year": 2024}
    assert first["score"] == pytest.approx(0.995, abs=1e-3)
    assert "vector" not in first


def test_query_with_filter_threshold_and_base64(client: Caller, docs: str) -> None:
    body = {"vector": packed(1.0, 0.1), "filter": {"must": [{"key": "year", "range": {"lte": 2020}}]}}
    assert ids(client.ask(f"query.{docs}", body)) == [DERIVED, 2**64 - 1]
    assert ids(client.ask(f"query.{docs}", body | {"score_threshold": 0.5})) == [DERIVED]
    assert ids(client.ask(f"query.{docs}", body | {"limit": 1, "offset": 1})) == [2**64 - 1]


def test_get_returns_what_was_asked_for(client: Caller, docs: str) -> None:
    body = {"ids": [DERIVED.upper(), 404], "with_payload": ["lang"], "with_vector": True}
    reply = client.ask(f"get.{docs}", body)
    (point,) = reply["result"]
    assert point["id"] == DERIVED
    assert point["payload"] == {"lang": "en"}
    assert point["vector"] == pytest.approx([0.7071, 0.7071], abs=1e-3)


def test_count_describe_and_list(client: Caller, docs: str) -> None:
    assert client.ask(f"count.{docs}", {})["result"] == {"count": 3}
    english = {"filter": {"must": [{"key": "lang", "match": {"value": "en"}}]}}
    assert client.ask(f"count.{docs}", english)["result"] == {"count": 2}
    described = client.ask(f"collections.describe.{docs}", b"")["result"]
    assert described["name"] == docs
    assert described["vectors"][""] == {"size": 2, "distance": "cosine"}
    assert docs in client.ask("collections.list", {})["result"]["collections"]


def test_delete_by_id_and_by_filter(client: Caller, docs: str) -> None:
    assert client.write(f"delete.{docs}", {"ids": [1]})["result"] == {"deleted": 1}
    german = {"filter": {"must": [{"key": "lang", "match": {"value": "de"}}]}}
    assert client.write(f"delete.{docs}", german)["result"] == {"deleted": None}
    assert client.ask(f"count.{docs}", {})["result"] == {"count": 1}


def test_payloads_change_and_vectors_stay(client: Caller, docs: str) -> None:
    change = {"ids": [1], "set": {"seen": True}, "unset": ["year"]}
    assert client.write(f"payload.{docs}", change)["result"] == {"updated": 1}
    (point,) = client.ask(f"get.{docs}", {"ids": [1], "with_vector": True})["result"]
    assert point["payload"] == {"lang": "en", "seen": True}
    assert point["vector"] == [1.0, 0.0]


def test_an_older_version_does_not_undo_a_newer_one(client: Caller, docs: str) -> None:
    for version, lang in ((2, "old"), (4, "new"), (3, "late")):
        point = {"id": DERIVED, "vector": [1.0, 1.0], "payload": {"lang": lang}, "version": version}
        assert client.write(f"upsert.{docs}", {"points": [point]})["result"] == {"upserted": 1}
    (point,) = client.ask(f"get.{docs}", {"ids": [DERIVED], "with_payload": ["lang"]})["result"]
    assert point["payload"] == {"lang": "new"}


def test_a_collection_is_created_once_and_deleted(client: Caller, docs: str) -> None:
    again = client.ask(f"collections.create.{docs}", {"size": 2})
    assert (again["status"], again["error"]["code"]) == (409, "collection_exists")
    same = {"size": 2, "exist_ok": True}
    assert client.ask(f"collections.create.{docs}", same)["result"] == {"created": False}
    other = client.ask(f"collections.create.{docs}", {"size": 3, "exist_ok": True})
    assert other["status"] == 409
    assert client.ask(f"collections.delete.{docs}", {})["result"] == {"deleted": True}
    assert client.ask(f"collections.delete.{docs}", {})["result"] == {"deleted": False}


def refusal(reply: dict[str, Any]) -> tuple[int, str]:
    assert set(reply) == {"status", "error", "elapsed_ms"}
    assert reply["error"]["retryable"] is False
    return reply["status"], reply["error"]["code"]


def test_a_wrong_dimension_names_the_point(client: Caller, docs: str) -> None:
    points = [{"id": 7, "vector": [1.0, 2.0]}, {"id": 8, "vector": [1.0, 2.0, 3.0]}]
    reply = client.write(f"upsert.{docs}", {"points": points})
    assert refusal(reply) == (422, "wrong_dimension")
    assert reply["error"]["message"].startswith("points[1]")
    assert ids(client.ask(f"get.{docs}", {"ids": [7]})) == [], "a message is applied whole or not at all"


REFUSED_REQUESTS = {
    "unknown collection": ("query.nowhere", {"vector": [1.0]}, 404, "unknown_collection"),
    "malformed JSON": ("query.DOCS", b'{"vector": [1.0', 400, "malformed"),
    "unknown field": ("query.DOCS", {"vector": [1.0, 2.0], "k": 3}, 422, "invalid"),
    "wrong dimension": ("query.DOCS", {"vector": [1.0]}, 422, "wrong_dimension"),
    "not base64": ("query.DOCS", {"vector": "????"}, 422, "invalid_vector"),
    "no operation": ("collections.rename.DOCS", {}, 400, "unknown_operation"),
    "no collection": ("query", {"vector": [1.0]}, 422, "invalid_collection"),
    "unusable name": ("query.a/b", {"vector": [1.0]}, 422, "invalid_collection"),
    "empty filter": ("delete.DOCS", {"filter": {"must": []}}, 422, "invalid"),
    "no points": ("upsert.DOCS", {"points": []}, 422, "empty_batch"),
    "reserved key": (
        "upsert.DOCS",
        {"points": [{"id": 1, "vector": [1.0, 2.0], "payload": {"_version": 1}}]},
        422,
        "invalid_payload",
    ),
}


@pytest.mark.parametrize(("key", "body", "status", "code"), REFUSED_REQUESTS.values(), ids=REFUSED_REQUESTS)
def test_refusals(client: Caller, docs: str, key: str, body: object, status: int, code: str) -> None:
    assert refusal(client.ask(key.replace("DOCS", docs), body)) == (status, code)


def test_other_content_is_refused(client: Caller, docs: str) -> None:
    reply = client.ask(f"count.{docs}", b"<count/>", content_type="text/xml")
    assert refusal(reply) == (415, "unsupported_content")


def test_a_refused_write_is_a_dead_letter_with_its_reason(client: Caller, docs: str) -> None:
    body = json.dumps({"points": [{"id": 9, "vector": [1.0]}]}).encode()
    reply = client.write(f"upsert.{docs}", body, headers={"x-mine": "a", "x-tenant": "a"}, app_id="elsewhere")
    assert refusal(reply) == (422, "wrong_dimension")
    (letter,) = client.dead(1)
    assert (letter.routing_key, letter.body) == (f"upsert.{docs}", body)
    assert letter.properties.content_type == "application/json"
    assert letter.properties.delivery_mode == 2
    headers = letter.headers
    assert headers["x-mine"] == "a"
    assert "x-tenant" not in headers  # the worker's own, and the sender is no tenant
    assert headers["x-error-code"] == "wrong_dimension"
    assert headers["x-error-stage"] == "validate"
    assert headers["x-exception-message"] == reply["error"]["message"]
    assert headers["x-original-queue"].endswith(".write")
    assert headers["x-retry-count"] == 0
    assert headers["x-worker"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", headers["x-first-failed-at"])
    assert headers["x-last-failed-at"] == headers["x-first-failed-at"]


def test_requests_have_no_dead_letters(client: Caller) -> None:
    client.ask("query.nowhere", {"vector": [1.0]})
    assert client.dead() == []


@pytest.mark.parametrize("key", ["upserts.docs", "docs", "UPSERT.docs", ""])
def test_a_routing_key_that_nobody_takes_comes_back(client: Caller, key: str) -> None:
    with pytest.raises(pika.exceptions.UnroutableError):
        client.publish(key, {})


def test_a_write_is_applied_and_its_reply_withheld_from_memq_s_own_queues(
    client: Caller, docs: str, worker: Address
) -> None:
    point = {"points": [{"id": 9, "vector": [1.0, 1.0]}]}
    client.publish(f"upsert.{docs}", point, delivery_mode=2, reply_to=f"{worker.prefix}.dead", correlation_id="x")
    # Behind it in the same queue: when this one is answered, both are settled.
    client.write(f"upsert.{docs}", {"points": []})
    assert [letter.headers["x-error-code"] for letter in client.dead(1)] == ["empty_batch"]
    assert client.ask(f"get.{docs}", {"ids": [9]})["result"]


def test_an_expired_request_is_not_answered(client: Caller, docs: str) -> None:
    client.publish(
        f"count.{docs}", {}, reply_to=client.replies, correlation_id="late", headers={"x-deadline": 1_000_000_000_000}
    )
    assert client.ask(f"count.{docs}", {})["status"] == 200
    assert client.early == set()


def test_the_reply_carries_correlation_id_and_trace(client: Caller, docs: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client.publish(f"count.{docs}", {}, reply_to=client.replies, correlation_id="ü-1", headers={"traceparent": trace})
    reply = client.reply_to("ü-1")
    assert reply.json["status"] == 200
    assert reply.properties.content_type == "application/json"
    assert reply.headers["traceparent"] == trace


def test_the_readme_s_client_prints_what_the_readme_says(worker: Address) -> None:
    (program,) = [s for s in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "import pika" in s]
    printed = re.findall(r"```text\n(.*?)```", README, re.DOTALL)[0]
    program = program.replace("memq.commands", f"{worker.prefix}.commands")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "AMQP_URL": worker.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == (printed, "")
