"""Recorded questions as data, and answers in a form that two runs share."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import empty_pb2, message_factory
from google.protobuf.json_format import MessageToDict, ParseDict
from qdrant_client import grpc as q
from qdrant_client.grpc import collections_service_pb2, points_service_pb2, qdrant_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contract.store import Store

DIRECTORY = Path(__file__).with_name("surface")
PREFIX = "more-"
_READY_SECONDS = 30.0
_PATHS = {
    "points": "qdrant.Points",
    "collections": "qdrant.Collections",
    "qdrant": "qdrant.Qdrant",
    "health": "grpc.health.v1.Health",
}
# Differ from run to run, or say who answers.
_UNCOMPARED = {"time", "usage", "version", "commit", "operationId"}


def _methods() -> Iterator[tuple[str, Any, Any]]:
    for short, module, service in (
        ("points", points_service_pb2, "Points"),
        ("collections", collections_service_pb2, "Collections"),
        ("qdrant", qdrant_pb2, "Qdrant"),
    ):
        for method in module.DESCRIPTOR.services_by_name[service].methods:
            request = message_factory.GetMessageClass(method.input_type)
            yield f"{short}.{method.name}", request, message_factory.GetMessageClass(method.output_type)


_METHODS = {call: (request, reply) for call, request, reply in _methods()}


@dataclass(frozen=True)
class Recorded:
    """One question and the answer of a Qdrant 1.18.3."""

    part: str
    name: str
    call: str
    request: dict[str, Any]
    answer: dict[str, Any]
    key: str | None = None

    @property
    def full_name(self) -> str:
        return f"{self.part}/{self.name}"

    def message(self) -> Any:
        """The request as Qdrant's protobuf message. Raises KeyError for one that is recorded as bytes."""
        fields = dict(self.request)
        size = fields.pop("generated", None)
        message = ParseDict(fields, _METHODS[self.call][0]())
        for number in range(size["points"]) if size else ():
            vector = q.Vector(dense=q.DenseVector(data=[float(number)] * size["dimensions"]))
            message.points.add(id=q.PointId(num=number), vectors=q.Vectors(vector=vector))
        return message

    def body(self) -> bytes:
        if "bytes" in self.request:
            return base64.b64decode(self.request["bytes"])
        return self.message().SerializeToString()


def parts() -> list[str]:
    return sorted(path.stem for path in DIRECTORY.glob("*.json") if path.stem != "differences")


def questions(part: str) -> list[Recorded]:
    """The questions of one part, in the order that their answers depend on."""
    found: list[Recorded] = []
    for row in json.loads(DIRECTORY.joinpath(f"{part}.json").read_text()):
        name, call, request = row.pop("name"), row.pop("call"), row.pop("request")
        key = row.pop("key", None)
        found.append(Recorded(part, name, call, request, row, key))
    return found


def differences() -> dict[str, str]:
    """Questions that the embedded engine answers differently, with the reason."""
    listed = json.loads(DIRECTORY.joinpath("differences.json").read_text())
    return {question: reason for reason, questions in listed.items() for question in questions}


def collections_of(part: str) -> set[str]:
    names = (each.request.get("collectionName", "") for each in questions(part) if each.call == "collections.Create")
    return {name for name in names if name.startswith(PREFIX)}


async def drop(store: Store, part: str) -> None:
    for name in sorted(collections_of(part)):
        # A server refuses some of the names here too.
        with suppress(grpc.aio.AioRpcError):
            await store.collections.Delete(q.DeleteCollection(collection_name=name))


def comparable(store: Store, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without the number of segments on the embedded engine.

    A server opens one segment per core, to optimise one while it writes to another; the engine starts with one.
    """
    described = answer.get("answer", {}).get("result", {})
    if store.kind == "embedded" and isinstance(described, dict) and "segmentsCount" in described:
        described = {key: value for key, value in described.items() if key != "segmentsCount"}
        return {**answer, "answer": {**answer["answer"], "result": described}}
    return answer


async def ask(store: Store, question: Recorded) -> dict[str, Any]:
    """The answer of `store`, without what differs from run to run."""
    service, method = question.call.split(".")
    reader = _METHODS[question.call][1] if question.call in _METHODS else empty_pb2.Empty
    call = store.channel.unary_unary(
        f"/{_PATHS.get(service, service)}/{method}", response_deserializer=reader.FromString
    )
    body = question.body()
    metadata = (("api-key", question.key),) if question.key else ()
    try:
        answer = MessageToDict(await call(body, timeout=60, metadata=metadata))
        if question.call == "collections.Get":
            answer = await _ready(lambda: call(body, timeout=60), answer)
    except grpc.aio.AioRpcError as error:
        return _refused(error)
    return {"code": "OK", "answer": _tidy(_ordered(question, answer))}


async def _ready(again: Callable[[], Any], answer: dict[str, Any]) -> dict[str, Any]:
    """A description once the store has applied and indexed everything."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _READY_SECONDS
    while loop.time() < deadline and (
        answer["result"]["status"] != "Green" or answer["result"].get("updateQueue", {}).get("length", "0") != "0"
    ):
        await asyncio.sleep(0.1)
        answer = MessageToDict(await again())
    return answer


def _refused(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    refused: dict[str, Any] = {"code": error.code().name, "details": _steady(error.details() or "")}
    ignored = ("date", "content-length", "content-type", "vary")
    trailing = {str(key): value for key, value in error.trailing_metadata() or () if key not in ignored}
    return refused | ({"trailing": trailing} if trailing else {})


def _tidy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tidy(item) for key, item in value.items() if key not in _UNCOMPARED}
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


def _identity(point: dict[str, Any]) -> tuple[int, int | str]:
    found = point.get("id", {})
    return (0, int(found["num"])) if "num" in found else (1, found.get("uuid", ""))


def _rank(hit: dict[str, Any]) -> str:
    return json.dumps([_tidy(hit.get("score")), hit.get("orderValue")])


def _settled(hits: list[Any]) -> list[Any]:
    """Sort hits of equal rank by id: they have no order of their own."""
    settled: list[Any] = []
    start = 0
    for end in range(1, len(hits) + 1):
        if end == len(hits) or _rank(hits[end]) != _rank(hits[start]):
            settled += sorted(hits[start:end], key=_identity)
            start = end
    return settled


def _ordered(question: Recorded, answer: dict[str, Any]) -> dict[str, Any]:
    call = question.call.removeprefix("points.")
    if call in ("Query", "Search", "Recommend", "Discover", "Scroll"):
        sampled = "sample" in question.request.get("query", {})
        hits = answer.get("result", [])
        answer["result"] = sorted(hits, key=_identity) if sampled else _settled(hits)
    elif call in ("QueryBatch", "SearchBatch"):
        for each in answer.get("result", []):
            each["result"] = _settled(each.get("result", []))
    elif call in ("QueryGroups", "SearchGroups"):
        for each in answer["result"].get("groups", []):
            each["hits"] = _settled(each["hits"])
    elif call == "SearchMatrixPairs":
        answer["result"].get("pairs", []).sort(key=_pair)
    elif call == "collections.List":
        mine = (each for each in answer.get("collections", []) if each["name"].startswith(PREFIX))
        answer["collections"] = sorted(mine, key=lambda each: each["name"])
    elif call in ("collections.ListAliases", "collections.ListCollectionAliases"):
        answer.get("aliases", []).sort(key=lambda each: each.get("aliasName", ""))
    elif call == "collections.CollectionClusterInfo":
        answer.pop("peerId", None)
    return answer


def _pair(each: dict[str, Any]) -> Any:
    return _identity({"id": each["a"]}), -each.get("score", 0), _identity({"id": each["b"]})


def _steady(text: str) -> str:
    """A refusal without task numbers, paths and the order of a refused value's parameters."""
    text = re.sub(r"task \d+", "task N", text)
    text = re.sub(r"/\S+/collections/", "STORAGE/collections/", text)
    text = re.sub(r"/\S+/\.deleted/\w+", "STORAGE/.deleted/X", text)
    return re.sub(r"\[\{(.*)\}\]", lambda found: "[{" + ", ".join(sorted(found[1].split(", "))) + "}]", text)
