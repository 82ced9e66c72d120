"""Two tenants with random operations against a real store: each gets exactly what it wrote, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memq_schemas import Count, CreateCollection, Delete, Facet, Filter, Query, Scroll, SetPayload, searches
from memq_schemas.filters import HasId
from memq_worker.pipeline.spaces import results, shared_space
from memq_worker.pipeline.spaces.ids import Ids
from memq_worker.pipeline.spaces.own_space import OwnSpace
from memq_worker.pipeline.spaces.rules import RULES, Rule
from memq_worker.pipeline.spaces.shared_space import SharedSpace
from tests.support.engine import embedded_engine
from tests.support.spaces import Tenants, own_spaces, shared_spaces, tenants_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

TENANTS = ("acme", "evil")
COLLECTION = "notes"
CONTRACT = CreateCollection(size=2)
UUID = "0b3f2c1e-1111-4222-8333-444455556666"
BIG = 2**64 - 1
# The last ones are where the other tenant's points are stored.
IDS = [1, 2, BIG, UUID, *(Ids(tenant).stored(1) for tenant in TENANTS)]
ERRORS = {"unknown_point", "invalid"}

ids = st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True)
number = st.integers(0, 2)
leaves = st.one_of(
    st.builds(lambda n: {"key": "n", "match": {"value": n}}, number),
    st.builds(lambda n: {"key": "n", "range": {"gte": n}}, number),
    st.builds(lambda given: {"has_id": given}, ids),
    st.just({"is_empty": {"key": "n"}}),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda groups: {**groups},
            st.dictionaries(
                st.sampled_from(["must", "should", "must_not"]), st.lists(inner, min_size=1, max_size=2), min_size=1
            ),
        ),
        st.builds(
            lambda of, least: {"min_should": {"conditions": of, "min_count": least}},
            st.lists(inner, min_size=1, max_size=3),
            st.integers(1, 2),
        ),
    ),
    max_leaves=4,
).map(lambda found: found if {"must", "should", "must_not", "min_should"} & set(found) else {"must": [found]})


def holds(condition: Any, point: Any, payload: dict[str, Any]) -> bool:
    def each(conditions: list[Any]) -> list[bool]:
        return [holds(inner, point, payload) for inner in conditions]

    if "has_id" in condition:
        return point in condition["has_id"]
    if "is_empty" in condition:
        return "n" not in payload
    if "match" in condition:
        return payload.get("n") == condition["match"]["value"]
    if "range" in condition:
        return "n" in payload and payload["n"] >= condition["range"]["gte"]
    some = condition.get("min_should")
    return (
        all(each(condition.get("must", [])))
        and not any(each(condition.get("must_not", [])))
        and ("should" not in condition or any(each(condition["should"])))
        and (some is None or sum(each(some["conditions"])) >= some["min_count"])
    )


vector = st.sampled_from([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
selection = st.one_of(st.builds(lambda i: {"ids": i}, ids), st.builds(lambda f: {"filter": f}, filters))
change = st.one_of(
    st.builds(lambda n: {"set": {"n": n}}, number),
    st.builds(lambda n: {"overwrite": {"n": n}}, number),
    st.just({"overwrite": {}}),
    st.just({"clear": True}),
    st.just({"unset": ["n", "who"]}),
)
queries = st.one_of(
    st.builds(lambda v: {"vector": v}, vector),
    st.builds(lambda i: {"query": {"recommend": {"positive": i}}}, ids),
    st.builds(lambda i: {"query": {"nearest": i}}, st.sampled_from(IDS)),
    st.builds(
        lambda v, i: {"query": {"discover": {"target": v, "context": [{"positive": i[0], "negative": i[-1]}]}}},
        vector,
        ids,
    ),
    st.builds(
        lambda v, f, i: {
            "prefetch": [{"query": v, "filter": f}, {"query": {"recommend": {"positive": i}}, "limit": 100}],
            "query": {"fusion": "rrf"},
        },
        vector,
        st.none() | filters,
        ids,
    ),
    st.builds(lambda v: {"vector": v, "group_by": "who", "group_size": 10}, vector),
    st.builds(lambda v, i: {"query": i, "lookup_from": {"collection": COLLECTION}}, vector, st.sampled_from(IDS)),
    st.just({"query": {"sample": "random"}}),
    st.builds(
        lambda v, f: {"prefetch": {"query": v}, "query": {"formula": {"sum": ["$score", f]}}, "limit": 100},
        vector,
        filters,
    ),
)
steps = st.one_of(
    st.builds(
        lambda i, v, n, o: ("upsert", i, v, n, o), ids, vector, st.none() | number, st.none() | st.integers(0, 3)
    ),
    st.builds(lambda s: ("delete", s), selection),
    st.builds(lambda s, c: ("payload", s | c), selection, change),
    st.builds(lambda i, v: ("vectors", {"points": [{"id": each, "vector": v} for each in i]}), ids, vector),
    st.builds(lambda q, f: ("query", q, f), queries, st.none() | filters),
    st.builds(lambda i: ("get", i), ids),
    st.builds(lambda f, n: ("scroll", f, n), st.none() | filters, st.integers(1, 3)),
    st.builds(lambda f: ("count", f), st.none() | filters),
    st.builds(lambda f: ("facet", f), st.none() | filters),
    st.just(("drop",)),
)
histories = st.lists(st.tuples(st.sampled_from(TENANTS), steps), min_size=4, max_size=24)


def examples(query: Any) -> set[Any]:
    """The ids in a query whose vectors it needs."""
    if isinstance(query, dict):
        parts = [value for name, value in query.items() if name not in ("filter", "limit", "group_size", "formula")]
        return set().union(*map(examples, parts))
    if isinstance(query, list):
        return set().union(*map(examples, query))
    return {query} if query in IDS and not isinstance(query, float) else set()


class Model:
    """Points that one tenant should find: payloads and versions by id."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.points: dict[Any, dict[str, Any]] = {}
        self.versions: dict[Any, int] = {}

    def chosen(self, body: dict[str, Any]) -> list[Any]:
        if "ids" in body:
            return list(body["ids"])
        return [point for point, payload in self.points.items() if holds(body["filter"], point, payload)]

    def selected(self, condition: Any) -> set[Any]:
        return {p for p, payload in self.points.items() if condition is None or holds(condition, p, payload)}

    def record(self, found: dict[str, Any]) -> None:
        """Check one point of an answer."""
        assert found["id"] in self.points, f"{self.tenant} got a point that is not its own"
        assert found["payload"] == self.points[found["id"]]
        assert found.get("version") == self.versions.get(found["id"])

    def records(self, found: list[dict[str, Any]]) -> None:
        for each in found:
            self.record(each)


class Play:
    """Do the steps of a history, and compare every answer with the models."""

    def __init__(self, tenants: Tenants) -> None:
        self.tenants = tenants
        self.models = {tenant: Model(tenant) for tenant in TENANTS}

    async def step(self, tenant: str, step: tuple[Any, ...]) -> None:
        model, (name, *given) = self.models[tenant], step
        await getattr(self, name)(tenant, model, *given)

    async def ok(self, tenant: str, operation: str, body: Any) -> Any:
        """The result; None for an error that the step may end with."""
        reply = await self.tenants.ask(tenant, f"{operation}.{COLLECTION}", body)
        if reply["status"] != 200:
            assert reply["error"]["code"] in ERRORS, reply
            return None
        return reply["result"]

    async def upsert(self, tenant: str, model: Model, keys: list[Any], at: Any, n: Any, version: Any) -> None:
        payload = {"who": tenant} | ({} if n is None else {"n": n})
        extra = {} if version is None else {"version": version}
        points = [{"id": key, "vector": at, "payload": payload, **extra} for key in keys]
        await self.ok(tenant, "upsert", {"points": points})
        for key in keys:
            if version is None:
                model.versions.pop(key, None)
            elif model.versions.get(key, -1) >= version:
                continue
            else:
                model.versions[key] = version
            model.points[key] = dict(payload)

    async def delete(self, tenant: str, model: Model, body: dict[str, Any]) -> None:
        if await self.ok(tenant, "delete", body) is not None:
            for key in model.chosen(body):
                model.points.pop(key, None)
                model.versions.pop(key, None)

    async def payload(self, tenant: str, model: Model, body: dict[str, Any]) -> None:
        if await self.ok(tenant, "payload", body) is None:
            return
        for key in model.chosen(body):
            payload = model.points[key]
            if "overwrite" in body or "clear" in body:
                payload = model.points[key] = dict(body.get("overwrite", {}))
            payload.update(body.get("set", {}))
            for gone in body.get("unset", []):
                payload.pop(gone, None)

    async def vectors(self, tenant: str, model: Model, body: dict[str, Any]) -> None:
        known = {each["id"] for each in body["points"]} <= set(model.points)
        assert (await self.ok(tenant, "vectors", body) is not None) == known

    async def query(self, tenant: str, model: Model, query: dict[str, Any], condition: Any) -> None:
        body = {"limit": 100, **query} | ({} if condition is None else {"filter": condition})
        found = await self.ok(tenant, "query", body)
        # An example that is the other tenant's is none.
        assert (found is None) == bool(examples(query) - set(model.points)), (query, model.points)
        if found is not None:
            model.records(found)
            assert {each["id"] for each in found} <= model.selected(condition)
            if "vector" in query and "group_by" not in query:
                assert {each["id"] for each in found} == model.selected(condition)

    async def get(self, tenant: str, model: Model, keys: list[Any]) -> None:
        found = await self.ok(tenant, "get", {"ids": keys})
        model.records(found)
        assert {each["id"] for each in found} == set(keys) & set(model.points)

    async def scroll(self, tenant: str, model: Model, condition: Any, limit: int) -> None:
        found: list[Any] = []
        body: dict[str, Any] = {"limit": limit} | ({} if condition is None else {"filter": condition})
        while True:
            page = await self.ok(tenant, "scroll", body)
            found += page["points"]
            assert len(found) <= len(model.points), "pages without an end"
            if page["next"] is None:
                break
            body["offset"] = page["next"]
        model.records(found)
        keys = [each["id"] for each in found]
        assert sorted(map(str, keys)) == sorted(map(str, model.selected(condition)))

    async def count(self, tenant: str, model: Model, condition: Any) -> None:
        body = {} if condition is None else {"filter": condition}
        assert await self.ok(tenant, "count", body) == {"count": len(model.selected(condition))}

    async def facet(self, tenant: str, model: Model, condition: Any) -> None:
        body = {"key": "who"} | ({} if condition is None else {"filter": condition})
        number = sum("who" in model.points[key] for key in model.selected(condition))
        found = await self.ok(tenant, "facet", body)
        assert found == {"values": [{"value": tenant, "count": number}] if number else []}

    async def drop(self, tenant: str, model: Model) -> None:
        await self.tenants.result(tenant, f"collections.delete.{COLLECTION}")
        await self.tenants.ask(tenant, f"collections.create.{COLLECTION}", {"size": 2})
        await index(self.tenants)
        model.points.clear()
        model.versions.clear()


async def index(tenants: Tenants) -> None:
    """Do the operator's part, once for each collection: facets need an index."""
    for name in (await tenants.result(None, "collections.list"))["collections"]:
        if name.endswith(COLLECTION):
            await tenants.result(None, f"index.create.{name}", {"key": "who", "type": "keyword"})


@asynccontextmanager
async def fresh(url: str, storage: str) -> AsyncIterator[Tenants]:
    """Both tenants without points."""
    contracts = {COLLECTION: CONTRACT} if storage == "shared" else {}
    spaces = shared_spaces(contracts, *TENANTS) if contracts else own_spaces(*TENANTS)
    async with tenants_of(url, spaces, contracts) as tenants:
        if not contracts:
            for tenant in TENANTS:
                await tenants.result(tenant, f"collections.create.{COLLECTION}", {"size": 2})
        await index(tenants)
        try:
            yield tenants
        finally:
            for name in (await tenants.result(None, "collections.list"))["collections"]:
                await tenants.store.drop_collection(name, 10.0)


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_engine(tmp_path_factory.mktemp("tenants") / "data") as engine:
        yield engine.url


async def play(url: str, storage: str, history: Any) -> None:
    async with fresh(url, storage) as tenants:
        played = Play(tenants)
        for tenant, step in history:
            await played.step(tenant, step)
        for tenant, model in played.models.items():
            await played.scroll(tenant, model, None, 2)
            await played.count(tenant, model, None)


SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("storage", ["own", "shared"])
@SETTINGS
@given(history=histories)
def test_a_tenant_finds_its_own_points_and_no_others(served: tuple[str, str], storage: str, history: Any) -> None:
    asyncio.run(play(f"http://{served[1]}", storage, history))


def _rule(model: Any, field: str, rule: Rule) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setitem(RULES[model], field, rule)


def _attribute(target: Any, name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(target, name, value)


def _same(_: Any, value: Any) -> Any:
    return value


async def _unmapped(_: Any, name: str, scroll: Any, following: Any, ask: Any) -> Any:
    return following


MUTANTS: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "ids stored as they are": ("shared", _attribute(Ids, "stored", _same)),
    "reads select the points of all": ("shared", _rule(Query, "filter", Rule.INNER)),
    "counts count the points of all": ("shared", _rule(Count, "filter", Rule.INNER)),
    "pages hold the points of all": ("shared", _rule(Scroll, "filter", Rule.INNER)),
    "facets count the points of all": ("shared", _rule(Facet, "filter", Rule.INNER)),
    "deletes select the points of all": ("shared", _rule(Delete, "filter", Rule.INNER)),
    "payload changes select the points of all": ("shared", _rule(SetPayload, "filter", Rule.INNER)),
    "has_id as it is": ("shared", _rule(HasId, "has_id", Rule.PLAIN)),
    "ids of examples as they are": ("shared", _rule(searches.RecommendInput, "positive", Rule.PLAIN)),
    "ids of queries as they are": ("shared", _rule(searches.Nearest, "nearest", Rule.PLAIN)),
    "scroll offsets as they are": ("shared", _rule(Scroll, "offset", Rule.PLAIN)),
    "next pages by stored id": ("shared", _attribute(SharedSpace, "_next", _unmapped)),
    "overwriting forgets whose it is": ("shared", _attribute(shared_space, "_PRESERVED", ())),
    "hidden keys returned": ("shared", _attribute(results, "visible", lambda payload: payload)),
    "dropping deletes the points of all": (
        "shared",
        _attribute(shared_space, "owned", lambda *_: Filter(must_not=[HasId(has_id=[3])])),
    ),
    "lookups named without the tenant": ("own", _rule(searches.LookupFrom, "collection", Rule.PLAIN)),
    "collections named without the tenant": ("own", _attribute(OwnSpace, "collection", _same)),
}


SOME = {"must": [{"key": "n", "match": {"value": 0}}]}
HISTORY: list[tuple[str, tuple[Any, ...]]] = [
    ("evil", ("upsert", [1, 2, UUID], [1.0, 0.0], 0, None)),
    ("acme", ("upsert", [1, 2, BIG], [0.0, 1.0], 0, 7)),
    ("acme", ("query", {"vector": [1.0, 0.0]}, None)),
    ("acme", ("query", {"query": {"recommend": {"positive": [1]}}}, None)),
    ("acme", ("query", {"query": {"nearest": 1}}, None)),
    ("acme", ("query", {"query": 1, "lookup_from": {"collection": COLLECTION}}, None)),
    ("acme", ("vectors", {"points": [{"id": 1, "vector": [1.0, 1.0]}]})),
    ("evil", ("vectors", {"points": [{"id": BIG, "vector": [1.0, 1.0]}]})),
    ("evil", ("payload", {"ids": [UUID], "clear": True})),
    ("acme", ("count", None)),
    ("acme", ("count", {"must": [{"has_id": [1]}]})),
    ("acme", ("facet", None)),
    ("acme", ("get", [1, BIG, UUID])),
    ("acme", ("scroll", None, 1)),
    ("evil", ("delete", {"filter": SOME})),
    ("evil", ("upsert", [1, 2], [1.0, 0.0], 0, None)),
    ("acme", ("payload", {"ids": [1], "overwrite": {"n": 1}})),
    ("acme", ("payload", {"filter": SOME, "set": {"n": 2}})),
    ("evil", ("count", SOME)),
    ("acme", ("scroll", None, 3)),
    ("acme", ("drop",)),
]


@pytest.mark.parametrize("storage", ["own", "shared"])
def test_the_history_of_the_mutants_is_answered(engine_url: str, storage: str) -> None:
    asyncio.run(play(engine_url, storage, HISTORY))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_found(name: str, engine_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, change = MUTANTS[name]
    change(monkeypatch)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        asyncio.run(play(engine_url, storage, HISTORY))
