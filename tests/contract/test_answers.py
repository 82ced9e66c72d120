"""Every recorded answer of a Qdrant server, asked again."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.json_format import MessageToDict

from tests.contract.questions import Question, Script

if TYPE_CHECKING:
    from tests.contract.store import Store

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("qdrant_answers.json").read_text())

# Differ from run to run, or say who answers.
UNCOMPARED = {"time", "usage", "version", "commit", "operationId"}

# What the embedded engine answers differently, and why it has to stay so.
EMBEDDED_DIFFERENCES: dict[str, tuple[str, Any, Any]] = {
    # A server opens one segment per core, to optimise one while it writes to another. The engine has no background
    # optimiser and starts with one; the number is what it has.
    "collection/get": ("segmentsCount", "2", "1"),
}


def tidy(value: Any, prefix: str) -> Any:
    if isinstance(value, dict):
        return {key: tidy(item, prefix) for key, item in value.items() if key not in UNCOMPARED}
    if isinstance(value, list):
        return [tidy(item, prefix) for item in value]
    if isinstance(value, float):
        return round(value, 4)
    return value.replace(prefix, "") if isinstance(value, str) else value


def own_collections(answer: Any, prefix: str) -> None:
    """A server may hold collections that are not ours."""
    listed = answer.get("collections")
    if listed is not None:
        answer["collections"] = sorted(
            (each for each in listed if each["name"].startswith(prefix)), key=lambda each: each["name"]
        )


async def ask(store: Store, question: Question, prefix: str) -> dict[str, Any]:
    service, name = question.method.split(".")
    method = getattr(getattr(store, service), name)
    try:
        message = await method(question.request, timeout=20)
    except grpc.aio.AioRpcError as error:
        details = tidy(error.details() or "", prefix)
        return {"call": question.method, "code": error.code().name, "details": details}
    answer = MessageToDict(message)
    own_collections(answer, prefix)
    return {"call": question.method, "code": "OK", "answer": tidy(answer, prefix)}


def ranked(answer: dict[str, Any]) -> Any:
    """Hits of equal or NaN score have no order of their own."""
    hits = answer.get("answer", {}).get("result")
    if isinstance(hits, list) and answer["call"] == "points.Query":
        key = [(-float(hit.get("score", 0)), json.dumps(hit["id"])) for hit in hits]
        indexed = sorted(range(len(hits)), key=lambda index: (str(key[index][0]) == "nan", key[index]))
        nan = all(hit.get("score") == "NaN" for hit in hits)
        order = sorted(range(len(hits)), key=lambda index: key[index][1]) if nan else indexed
        answer["answer"]["result"] = [hits[index] for index in order]
    return answer


def expected(store: Store, name: str) -> dict[str, Any]:
    answer = json.loads(json.dumps(RECORDED[name]))
    if store.kind == "embedded" and name in EMBEDDED_DIFFERENCES:
        field, of_server, of_engine = EMBEDDED_DIFFERENCES[name]
        assert answer["answer"]["result"][field] == of_server
        answer["answer"]["result"][field] = of_engine
    return answer


async def test_every_recorded_answer_is_given_again(store: Store) -> None:
    prefix = f"memq-test-{secrets.token_hex(6)}-"
    different: dict[str, Any] = {}
    asked: set[str] = set()
    try:
        for question in Script(prefix).questions():
            answer = ranked(await ask(store, question, prefix))
            wanted = ranked(expected(store, question.name))
            asked.add(question.name)
            if answer != wanted:
                different[question.name] = {"got": answer, "want": wanted}
    finally:
        for name in ("answers", "named", "zero", "big", "a.b", "ud", "novec"):
            await store.delete(prefix + name)
    assert asked == set(RECORDED)
    assert not different, json.dumps(different, indent=1)
