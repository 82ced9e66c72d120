from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, get_args

import pytest

from memq_schemas import (
    ChangeVectors,
    Count,
    CreateCollection,
    CreateIndex,
    Delete,
    DeleteIndex,
    ErrorCode,
    Facet,
    Get,
    NameAlias,
    Operation,
    Query,
    Scroll,
    SetPayload,
)
from memq_schemas.collections import Empty, UpdateCollection
from memq_schemas.ids import NAMESPACE
from memq_schemas.model import Model
from memq_worker.errors import MessageError
from memq_worker.pipeline.command import (
    ChangePayload,
    DeletePoints,
    RemoveVectors,
    ReplaceVectors,
    Request,
)
from memq_worker.pipeline.spaces.ids import Ids, original, stored_id
from memq_worker.pipeline.spaces.own_space import OwnSpace
from memq_worker.pipeline.spaces.rules import RULES, Rule
from memq_worker.pipeline.spaces.shared_space import SharedSpace
from memq_worker.pipeline.spaces.walk import walk
from memq_worker.pipeline.store import PointsBatch
from tests.unit.worker.fakes import FakeLink, delivery, replacing, upserting

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = OwnSpace("acme")
SHARED = SharedSpace("acme", {"notes": CreateCollection(size=2)})
UUID = "0B3F2C1E-1111-4222-8333-444455556666"
HIDDEN = ("_tenant", "_id", "_version", '"_tenant"', "_id.x", "_tenant[]", '"_version".x')

# What a tenant may ask. An operation that stands in neither is refused: decide about it here and in the space.
ASKED = {
    OWN: set(Operation) & {op for op in Operation if op.value.partition(".")[0] in ("collections", "index", "alias")}
    | {Operation.QUERY, Operation.SCROLL, Operation.FACET, Operation.GET, Operation.COUNT},
    SHARED: {Operation.QUERY, Operation.SCROLL, Operation.FACET, Operation.GET, Operation.COUNT}
    | {Operation.LIST, Operation.CREATE, Operation.DESCRIBE, Operation.DROP, Operation.ALIASES}
    | {Operation.CREATE_INDEX},
}
BODIES: dict[Operation, Model] = {
    Operation.QUERY: Query(vector=[1.0, 0.0]),
    Operation.SCROLL: Scroll(),
    Operation.FACET: Facet(key="k"),
    Operation.GET: Get(ids=[1]),
    Operation.COUNT: Count(),
    Operation.CREATE: CreateCollection(size=2),
    Operation.UPDATE: UpdateCollection(on_disk_payload=True),
    Operation.CREATE_INDEX: CreateIndex.model_validate({"key": "k", "type": "keyword"}),
    Operation.DELETE_INDEX: DeleteIndex(key="k"),
    Operation.CREATE_ALIAS: NameAlias(alias="a"),
    Operation.SWITCH_ALIAS: NameAlias(alias="a"),
    Operation.DELETE_ALIAS: NameAlias(alias="a"),
}


def request(operation: Operation, collection: str | None = "notes") -> Request:
    body: Any = BODIES.get(operation, Empty())
    return Request(delivery(FakeLink(), 1, {}, operation.value), operation, collection, body)


class Asked:
    """A store of several tenants and the operator, which notes what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Operation, str, Any]] = []

    async def __call__(self, operation: Operation, collection: str, body: Any) -> Any:
        self.calls.append((operation, collection, body))
        point = 1 if collection.startswith("acme.") else Ids("acme").stored(1)
        record = {"id": point, "score": 1.0, "payload": {"_id": 1, "_tenant": "acme", "k": 1}}
        answers: dict[Operation, Any] = {
            Operation.QUERY: [record],
            Operation.GET: [record],
            Operation.SCROLL: {"points": [record], "next": None},
            Operation.LIST: {"collections": ["acme.notes", "acmes.notes", "evil.notes", "notes"]},
            Operation.ALIASES: {
                "aliases": [
                    {"alias": "acme.a", "collection": "acme.notes"},
                    {"alias": "acme.b", "collection": "evil.notes"},
                    {"alias": "evil.a", "collection": "acme.notes"},
                ]
            },
            Operation.DESCRIBE: {
                "name": collection,
                "status": "green",
                "points": 7,
                "vectors": {},
                "aliases": ["evil.a"],
                "indexes": {
                    "k": {"type": "keyword", "points": 7, "options": {}},
                    "_tenant": {"type": "keyword", "points": 7, "options": {}},
                },
                "optimizer": "evil",
            },
            Operation.SWITCH_ALIAS: {"before": "evil.notes"},
            Operation.COUNT: {"count": 3},
        }
        return answers.get(operation, {})


@pytest.mark.parametrize("space", [OWN, SHARED], ids=["own", "shared"])
@pytest.mark.parametrize("operation", [op for op in Operation if not op.is_write])
async def test_every_operation_is_answered_in_the_tenants_own_space_or_refused(
    space: OwnSpace | SharedSpace, operation: Operation
) -> None:
    asked = Asked()
    if operation not in ASKED[space]:
        with pytest.raises(MessageError) as refused:
            await space.answer(request(operation), asked)
        assert refused.value.code is ErrorCode.FORBIDDEN
        assert not asked.calls
        return
    answer = repr(await space.answer(request(operation), asked))
    for others in ("evil", "acmes", "acme.", "_tenant", "_id", Ids("acme").stored(1)):
        assert others not in answer
    for _, collection, _ in asked.calls:
        assert collection in ("", "acme.notes" if space is OWN else "notes")


async def test_an_operation_that_no_space_knows_is_refused() -> None:
    class Later:
        value = "collections.later"

    for space in (OWN, SHARED):
        asked, later = Asked(), request(Operation.COUNT)
        later.operation = Later()  # type: ignore[assignment]
        with pytest.raises(MessageError) as refused:
            await space.answer(later, asked)
        assert refused.value.code is ErrorCode.FORBIDDEN
        assert not asked.calls


def test_a_field_without_a_rule_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RULES[Query], "lookup_from")
    query = Query.model_validate({"vector": [1.0], "lookup_from": {"collection": "evil.notes"}})
    for space in (OWN, SHARED):
        with pytest.raises(MessageError, match="lookup_from") as refused:
            walk(query, space)
        assert refused.value.code is ErrorCode.FORBIDDEN
    monkeypatch.delitem(RULES, Query)
    with pytest.raises(MessageError, match="Query"):
        walk(Query(vector=[1.0]), OWN)


@pytest.mark.parametrize("field", [{"shard_number": 9}, {"strict_mode_config": {"enabled": False}}])
async def test_what_the_operator_decides_is_not_a_tenants(field: dict[str, Any]) -> None:
    asked, creating = Asked(), request(Operation.CREATE)
    creating.body = CreateCollection.model_validate({"size": 2, **field})
    for space in (OWN, SHARED):
        with pytest.raises(MessageError, match=next(iter(field))):
            await space.answer(creating, asked)
    assert not [operation for operation, _, _ in asked.calls if operation is Operation.CREATE]


async def test_an_index_of_a_shared_collection_is_the_operators() -> None:
    creating = request(Operation.CREATE_INDEX)
    assert await SHARED.answer(creating, Asked()) == {"accepted": True}
    for key, kind in (("k", "integer"), ("other", "keyword")):
        creating.body = CreateIndex.model_validate({"key": key, "type": kind})
        asked = Asked()
        with pytest.raises(MessageError, match="operator"):
            await SHARED.answer(creating, asked)
        assert [operation for operation, _, _ in asked.calls] == [Operation.DESCRIBE]


def models_in(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    if (alias := getattr(annotation, "__value__", None)) is not None:
        yield from models_in(alias)
    for inner in get_args(annotation):
        yield from models_in(inner)


@pytest.mark.parametrize("model", RULES, ids=lambda model: model.__name__)
def test_the_rules_name_fields_that_there_are(model: type[Model]) -> None:
    assert set(RULES[model]) <= set(model.model_fields)


@pytest.mark.parametrize("model", RULES, ids=lambda model: model.__name__)
def test_plain_fields_hold_no_names_ids_or_keys(model: type[Model]) -> None:
    telling = {"key", "keys", "id", "ids", "collection", "collections", "alias", "lookup", "filter", "payload", "path"}
    for name, rule in RULES[model].items():
        for inner in models_in(model.model_fields[name].annotation):
            if rule is not Rule.PLAIN:
                assert inner in RULES, f"{model.__name__}.{name}: {inner.__name__} has no rules"
            else:
                assert not telling & set(inner.model_fields), f"{model.__name__}.{name} is not plain"


READS = [
    (Query, {"vector": [1.0], "filter": {"must": [{"key": None, "match": {"value": "evil"}}]}}),
    (Query, {"vector": [1.0], "filter": {"should": {"must_not": {"is_empty": {"key": None}}}}}),
    (Query, {"vector": [1.0], "filter": {"min_should": {"min_count": 1, "conditions": [{"is_null": {"key": None}}]}}}),
    (Query, {"vector": [1.0], "filter": {"must": [{"nested": {"key": None, "filter": {}}}]}}),
    (Query, {"vector": [1.0], "group_by": None}),
    (Query, {"query": {"order_by": {"key": None}}}),
    (Query, {"query": {"formula": {"sum": ["$score", None]}}}),
    (Query, {"query": {"formula": {"mult": [{"key": None, "match": {"value": 1}}, 2.0]}}}),
    (Query, {"query": {"formula": {"exp_decay": {"x": None}}}}),
    (Query, {"query": {"formula": {"exp_decay": {"x": {"datetime_key": None}}}}}),
    (Query, {"query": {"formula": {"neg": {"geo_distance": {"origin": {"lon": 0, "lat": 0}, "to": None}}}}}),
    (
        Query,
        {"query": {"fusion": "rrf"}, "prefetch": [{"query": [1.0], "filter": {"must": {"is_empty": {"key": None}}}}]},
    ),
    (Count, {"filter": {"must": [{"key": None, "match": {"value": "evil"}}]}}),
    (Scroll, {"order_by": {"key": None}}),
    (Scroll, {"filter": {"must": [{"key": None, "match": {"value": "evil"}}]}}),
    (Facet, {"key": None}),
    (Facet, {"key": "k", "filter": {"must": [{"key": None, "match": {"value": "evil"}}]}}),
    (CreateIndex, {"key": None, "type": "integer"}),
    (DeleteIndex, {"key": None}),
    (Delete, {"filter": {"must": [{"key": None, "match": {"value": "evil"}}]}}),
    (SetPayload, {"ids": [1], "unset": [None]}),
    (SetPayload, {"ids": [1], "set": {"a": 1}, "key": None}),
    (ChangeVectors, {"remove": ["d"], "filter": {"must": [{"key": None, "match": {"value": "evil"}}]}}),
]


def filled(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: filled(inner, key) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, key) for inner in value]
    return key if value is None else value


@pytest.mark.parametrize("path", HIDDEN)
@pytest.mark.parametrize(("model", "body"), READS)
def test_a_hidden_key_is_refused_wherever_a_key_is_read(model: type[Model], body: Any, path: str) -> None:
    try:
        given = model.model_validate(filled(body, path))
    except ValueError:
        assert "_version" in path  # refused for the operator as well
        return
    for space in (OWN, SHARED):
        with pytest.raises(MessageError) as refused:
            walk(given, space)
        assert refused.value.code is ErrorCode.INVALID


def test_keys_like_the_hidden_ones_are_the_tenants_own() -> None:
    nested = {"must": [{"nested": {"key": "parts", "filter": {"must": [{"key": "_id", "match": {"value": 1}}]}}}]}
    for body in ({"filter": nested}, {"filter": {"must": [{"key": "a._id", "match": {"value": 1}}]}}):
        assert walk(Count.model_validate(body), OWN) == Count.model_validate(body)
        walk(Count.model_validate(body), SHARED)


@pytest.mark.parametrize("field", ["overwrite", "set"])
@pytest.mark.parametrize("key", ["_id", "_tenant"])
def test_a_hidden_key_cannot_be_set(field: str, key: str) -> None:
    message = delivery(FakeLink(), 1, {})
    points = PointsBatch([1], {"": [b"\0" * 8]}, [{key: "evil"}])
    for space in (OWN, SHARED):
        change = SetPayload.model_validate({"ids": [1], field: {key: "evil"}})
        with pytest.raises(MessageError, match=key):
            space.write(ChangePayload(message, "notes", change))
        with pytest.raises(MessageError, match=r"points\[0\].payload"):
            space.write(upserting(message, "notes", points))


def test_changes_of_vectors_reach_the_tenants_own_points() -> None:
    message = delivery(FakeLink(), 1, {})
    given = PointsBatch([1, UUID], {"d": [b"\0" * 8] * 2}, [None, None])
    stored = Ids("acme").stored
    own, shared = (space.write(replacing(message, "notes", given)) for space in (OWN, SHARED))
    assert isinstance(shared, ReplaceVectors)
    assert (own.ids, shared.ids, shared.points.ids) == (given.ids, [stored(1), stored(UUID)], shared.ids)
    for body in ({"ids": [1], "remove": ["d"]}, {"filter": {"must": [{"has_id": [1]}]}, "remove": ["d"]}):
        removal = SHARED.write(RemoveVectors(message, "notes", ChangeVectors.model_validate(body)))
        assert isinstance(removal, RemoveVectors)
        if removal.ids is not None:
            assert removal.ids == [stored(1)]
        else:
            assert removal.body.filter is not None
            must = removal.body.filter.model_dump(exclude_none=True)["must"]
            assert must == [{"key": "_tenant", "match": {"value": "acme"}}, {"has_id": [stored(1)]}]


def test_a_filter_of_a_shared_collection_is_joined_with_the_tenants_own() -> None:
    own = {"key": "_tenant", "match": {"value": "acme"}}
    inner = {"key": "k", "match": {"value": 1}}
    for given, must in (
        ({}, [own]),
        ({"filter": {"must": inner}}, [own, inner]),
        ({"filter": {"should": [inner]}}, [own]),
        ({"filter": {"must": [inner], "must_not": [inner]}}, [own, inner]),
    ):
        for model, more in ((Query, {"vector": [1.0]}), (Count, {}), (Scroll, {}), (Facet, {"key": "k"})):
            made = walk(model.model_validate({**more, **given}), SHARED).model_dump(exclude_none=True)
            assert made["filter"]["must"] == must
    query = {"query": {"fusion": "rrf"}, "prefetch": [{"query": [1.0], "prefetch": {"query": [1.0]}}]}
    made = walk(Query.model_validate(query), SHARED).model_dump(exclude_none=True)
    assert made["prefetch"][0]["filter"]["must"] == [own]
    assert made["prefetch"][0]["prefetch"]["filter"]["must"] == [own]
    command = SHARED.write(
        DeletePoints(delivery(FakeLink(), 1, {}), "notes", Delete.model_validate({"filter": {"must": [inner]}}))
    )
    assert isinstance(command, DeletePoints)
    assert command.body.filter is not None
    assert command.body.filter.model_dump(exclude_none=True)["must"] == [own, inner]


def test_every_id_of_a_query_is_mapped() -> None:
    stored = Ids("acme").stored
    pair = {"positive": 1, "negative": UUID}
    item, strategy = {"example": 1, "score": 1.0}, {"naive": {"a": 1.0, "b": 1.0, "c": 1.0}}
    queries: list[Any] = [
        {"query": 1},
        {"query": UUID},
        {"query": {"nearest": 1}},
        {"query": {"recommend": {"positive": [1, UUID], "negative": [2]}}},
        {"query": {"discover": {"target": 1, "context": [pair]}}},
        {"query": {"context": [pair]}},
        {"query": {"relevance_feedback": {"target": UUID, "feedback": [item], "strategy": strategy}}},
        {"query": {"fusion": "rrf"}, "prefetch": [{"query": 1}, {"query": {"recommend": {"positive": [UUID]}}}]},
        {"vector": [1.0], "filter": {"must": [{"has_id": [1, UUID]}]}},
        {"query": {"formula": {"sum": [{"has_id": [1]}, {"has_id": [UUID]}]}}},
        {"query": {"formula": {"neg": {"has_id": [1, UUID]}}}},
        {"query": {"formula": {"div": {"left": {"has_id": [1, UUID]}, "right": 2.0}}}},
    ]
    for body in queries:
        text = walk(Query.model_validate(body), SHARED).model_dump_json(by_alias=True)
        assert UUID not in text
        assert UUID.lower() not in text
        assert stored(1) in text or stored(UUID.lower()) in text
        assert walk(Query.model_validate(body), OWN).model_dump_json().count(stored(1)) == 0


def test_other_collections_are_named_by_the_tenants_names() -> None:
    query = Query.model_validate({"query": 1, "lookup_from": {"collection": "notes"}})
    found = walk(query, OWN).lookup_from
    assert found is not None
    assert found.collection == "acme.notes"
    for name in ("evil.notes", "acme.notes", "_", "../evil"):
        with pytest.raises(MessageError):
            walk(Query.model_validate({"query": 1, "lookup_from": {"collection": name}}), SHARED)
    assert OWN.collection("evil.notes") == "acme.evil.notes"
    with pytest.raises(MessageError):
        OWN.collection("n" * 199)


def test_ids_of_tenants_are_uuids_of_version_5_that_never_meet() -> None:
    for tenant in ("acme", "evil"):
        namespace = uuid.uuid5(NAMESPACE, f"tenant\x1f{tenant}")
        for point in (0, 1, 2**64 - 1, UUID.lower()):
            assert Ids(tenant).stored(point) == str(uuid.uuid5(namespace, str(point)))
            assert Ids("acme").stored(point) != Ids("evil").stored(point)
            assert original(stored_id(point)) == point
    assert original(1.5) is None
    assert original(None) is None
    assert original(True) is None


def test_errors_are_told_in_the_tenants_own_names() -> None:
    assert OWN.retold("collection 'acme.notes' takes 2") == "collection 'notes' takes 2"
    assert (
        OWN.retold("Collection `acme.notes` doesn't exist, not-acme.x")
        == "Collection `notes` doesn't exist, not-acme.x"
    )
    assert Ids("acme").stored(1) not in SHARED.retold(f"No point with id {Ids('acme').stored(1)} found")
