"""One tenant tries every field of every operation against another: hidden keys, foreign names and foreign ids."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from memq_schemas import CreateCollection
from memq_worker.pipeline.spaces.ids import Ids
from tests.support.engine import embedded_engine
from tests.support.spaces import Tenants, own_spaces, shared_spaces, tenants_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOREIGN = Ids("acme").stored(1)
KEYS = (
    *(
        "_tenant",
        '"_tenant"',
        "_tenant.x",
        '"_tenant"[0]',
        "_tenant[]",
        "_id",
        "_id.x",
        '"_id"[]',
        "_version",
        "_version[0]",
    ),
    *("_TENANT", "a._tenant", "a[]._tenant", "_tenant ", ""),
)
COLLECTIONS = ("acme.notes", "acme", "evil.notes", "acme.acme.notes", ".notes", "evil.acme.notes")
IDS = (FOREIGN, FOREIGN.upper(), FOREIGN.replace("-", ""), f"{{{FOREIGN}}}", f"urn:uuid:{FOREIGN}", "a-b", -1)
OPERATIONS: dict[str, Any] = {
    "query": {"vector": [1, 0]},
    "get": {"ids": [1]},
    "count": {},
    "scroll": {},
    "facet": {"key": "who"},
    "delete": {"ids": [1]},
    "payload": {"ids": [1], "clear": True},
    "upsert": {"points": [{"id": 1, "vector": [1, 0], "payload": {"changed": 1}}]},
    "vectors": {"points": [{"id": 1, "vector": [0, 1]}]},
    "collections.describe": {},
    "collections.create": {"size": 2},
    "collections.update": {"on_disk_payload": True},
    "collections.delete": {},
    "index.create": {"key": "who", "type": "keyword"},
    "index.delete": {"key": "who"},
    "alias.create": {"alias": "mine"},
    "alias.switch": {"alias": "mine"},
}
Attack = tuple[str, Any]
LOOKS = 20  # attacks between two looks at what acme has


def conditions(key: str) -> Iterator[dict[str, Any]]:
    """Filters that try to select by `key`, each in its own way."""
    value = {"key": key, "match": {"value": "acme"}}
    yield {"must": [value]}
    yield {"must_not": [{"key": key, "match": {"value": "evil"}}]}
    yield {"should": [{"is_empty": {"key": key}}, {"is_null": {"key": key}}, {"key": key, "match": {"except": ["x"]}}]}
    yield {"min_should": {"conditions": [{"key": key, "values_count": {"gte": 1}}], "min_count": 1}}
    yield {"must": [{"nested": {"key": key, "filter": {"must": [value]}}}]}
    yield {
        "must": [{"nested": {"key": "a", "filter": {"must": [{"nested": {"key": key, "filter": {"must": [value]}}}]}}}]
    }
    yield {"must": [{"must_not": [{"must_not": [value]}]}]}


def selections(condition: dict[str, Any]) -> Iterator[Attack]:
    rescored = {"formula": {"sum": ["$score", condition]}}
    yield "query.notes", {"vector": [1, 0], "filter": condition}
    yield "query.notes", {"prefetch": {"query": [1, 0], "filter": condition}, "query": {"fusion": "rrf"}}
    yield "query.notes", {"prefetch": {"query": [1, 0]}, "query": rescored}
    yield "query.notes", {"vector": [1, 0], "filter": condition, "group_by": "who"}
    yield "count.notes", {"filter": condition}
    yield "scroll.notes", {"filter": condition}
    yield "facet.notes", {"key": "who", "filter": condition}
    yield "payload.notes", {"filter": condition, "set": {"changed": 1}}
    yield "payload.notes", {"filter": condition, "clear": True}
    yield "delete.notes", {"filter": condition}


def keyed(key: str) -> Iterator[Attack]:
    """Every field that holds a payload key."""
    for condition in conditions(key):
        yield from selections(condition)
    yield "facet.notes", {"key": key}
    yield "scroll.notes", {"order_by": {"key": key}}
    yield "query.notes", {"query": {"order_by": key}}
    yield "query.notes", {"vector": [1, 0], "group_by": key}
    yield "query.notes", {"vector": [1, 0], "with_payload": [key]}
    yield "get.notes", {"ids": [1, FOREIGN], "with_payload": [key]}
    pair = {"left": key, "right": key}
    for formula in (key, {"sum": ["$score", key]}, {"abs": key}, {"div": pair}, {"exp_decay": {"x": key}}):
        yield "query.notes", {"prefetch": {"query": [1, 0]}, "query": {"formula": formula, "defaults": {key: 1}}}
    for operator in ({"datetime_key": key}, {"geo_distance": {"origin": {"lat": 1, "lon": 1}, "to": key}}):
        yield "query.notes", {"prefetch": {"query": [1, 0]}, "query": {"formula": operator}}
    yield "payload.notes", {"ids": [1], "set": {key: "acme"}}
    yield "payload.notes", {"ids": [1], "overwrite": {key: "acme"}}
    yield "payload.notes", {"ids": [1], "set": {"x": "acme"}, "key": key}
    yield "payload.notes", {"ids": [1], "unset": [key]}
    yield "upsert.notes", {"points": [{"id": 7, "vector": [1, 0], "payload": {key: "acme"}}]}
    yield "index.create.notes", {"key": key, "type": "keyword"}
    yield "index.delete.notes", {"key": key}


def named(name: str) -> Iterator[Attack]:
    """Every field and key that holds the name of a collection or alias."""
    lookup = {"lookup_from": {"collection": name}}
    yield "query.notes", {"query": 1, **lookup}
    yield "query.notes", {"query": {"recommend": {"positive": [1]}}, **lookup}
    yield "query.notes", {"prefetch": {"prefetch": {"query": 1, **lookup}, "query": [1, 0]}, "query": {"fusion": "rrf"}}
    for operation, body in OPERATIONS.items():
        yield f"{operation}.{name}", body
    for operation in ("alias.create", "alias.switch", "alias.delete"):
        yield f"{operation}.notes", {"alias": name}


def identified(point: Any) -> Iterator[Attack]:
    """Every field that holds the id of a point."""
    pair = {"positive": point, "negative": point}
    yield "get.notes", {"ids": [point]}
    for query in (point, {"nearest": point}, {"recommend": {"positive": [point], "negative": [point]}}):
        yield "query.notes", {"query": query}
        yield (
            "query.notes",
            {"prefetch": [{"prefetch": [{"query": query}], "query": query}], "query": {"fusion": "rrf"}},
        )
    yield "query.notes", {"query": {"discover": {"target": point, "context": [pair]}}}
    yield "query.notes", {"query": {"context": [pair]}}
    feedback = {"feedback": [{"example": point, "score": 1}], "strategy": {"naive": {"a": 1, "b": 1, "c": 1}}}
    yield "query.notes", {"query": {"relevance_feedback": {"target": point, **feedback}}}
    yield "scroll.notes", {"offset": point}
    yield from selections({"must": [{"has_id": [point]}]})
    yield "delete.notes", {"ids": [point]}
    yield "payload.notes", {"ids": [point], "overwrite": {"changed": 1}}
    yield "vectors.notes", {"points": [{"id": point, "vector": [0, 1]}]}
    yield "vectors.notes", {"ids": [point], "remove": [""]}
    yield "upsert.notes", {"points": [{"id": point, "vector": [1, 0], "payload": {"changed": 1}}]}


def attacks() -> Iterator[Attack]:
    """Every attack, those in a query also in a message of several."""
    for key, body in single_attacks():
        yield key, body
        if key.startswith("query."):
            yield f"queries.{key.partition('.')[2]}", {"queries": [body, {"vector": [1, 0]}]}


def single_attacks() -> Iterator[Attack]:
    for key in KEYS:
        yield from keyed(key)
    yield from selections({"must_not": [{"has_id": [1, 2]}]})
    for name in COLLECTIONS:
        yield from named(name)
    for point in IDS:
        yield from identified(point)
    for operation in ("collections.list", "alias.list", "limits"):
        yield operation, {}


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory: Path = tmp_path_factory.mktemp("fields")
    with embedded_engine(directory / "data") as engine:
        yield engine.url


async def fill(tenants: Tenants, tenant: str, who: str) -> None:
    points = [{"id": n, "vector": [1, n], "payload": {"who": who, "a": [{"x": 1}]}, "version": 5} for n in (1, 2)]
    await tenants.result(tenant, "delete.notes", {"filter": {"must_not": [{"has_id": [0]}]}})
    await tenants.result(tenant, "upsert.notes", {"points": points})


async def seen(tenants: Tenants) -> Any:
    """Return everything that acme has."""
    page = await tenants.result("acme", "scroll.notes", {"with_vector": True})
    described = await tenants.result("acme", "collections.describe.notes")
    return page, described["indexes"].keys(), await tenants.result("acme", "collections.list")


def foreign(value: Any) -> bool:
    """Return True if an answer holds a hidden key, or something of acme's."""
    if isinstance(value, dict):
        return any(key in ("_tenant", "_id", "_version") or foreign(each) for key, each in value.items())
    if isinstance(value, list):
        return any(foreign(each) for each in value)
    return value == "acme's secret"


def statuses(reply: Any) -> list[int]:
    """Return the status of a reply, and those of its parts."""
    result = reply.get("result")
    parts: list[Any] = result if isinstance(result, list) else []
    return [reply["status"], *(part["status"] for part in parts if "status" in part)]


async def attack(url: str, storage: str) -> list[str]:
    """Return what got through."""
    contracts = {"notes": CreateCollection(size=2)} if storage == "shared" else {}
    spaces = shared_spaces(contracts, "acme", "evil") if contracts else own_spaces("acme", "evil")
    through: list[str] = []
    async with tenants_of(url, spaces, contracts) as tenants:
        for tenant in ("acme", "evil"):
            await tenants.result(tenant, "collections.create.notes", {"size": 2})
        for name in (await tenants.result(None, "collections.list"))["collections"]:
            await tenants.result(None, f"index.create.{name}", {"key": "who", "type": "keyword"})
        await fill(tenants, "acme", "acme's secret")
        await fill(tenants, "evil", "evil")
        before = await seen(tenants)
        tries: list[str] = []
        every = list(attacks())
        for number, (key, body) in enumerate(every, 1):
            reply = await tenants.ask("evil", key, body)
            tried = f"{key} {json.dumps(body)}: {json.dumps(reply)}"
            if max(statuses(reply)) >= 500 or foreign(reply.get("result")):
                through.append(tried)
            tries.append(tried)
            # A look costs three requests, and no attack undoes what another has changed.
            if len(tries) == LOOKS or number == len(every):
                if (now := await seen(tenants)) != before:
                    through.append(f"changed by one of {tries}")
                    before = now
                tries.clear()
            if key in ("delete.notes", "payload.notes", "collections.delete.notes"):
                await fill(tenants, "evil", "evil")
        for name in (await tenants.result(None, "collections.list"))["collections"]:
            await tenants.store.drop_collection(name, 10.0)
    return through


@pytest.mark.parametrize("storage", ["own", "shared"])
def test_no_field_reaches_another_tenant(engine_url: str, storage: str) -> None:
    assert asyncio.run(attack(engine_url, storage)) == []
