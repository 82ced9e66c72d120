"""The operations as the generated documents show them: body, result and an example of each."""

from dataclasses import dataclass
from typing import Any

from pydantic import create_model

from memq_schemas import (
    AliasCreated,
    AliasDeleted,
    Aliases,
    AliasSwitched,
    ChangeVectors,
    CollectionDeleted,
    CollectionDescription,
    CollectionNames,
    CollectionUpdated,
    Count,
    Counted,
    CreateCollection,
    Created,
    CreateIndex,
    Delete,
    Deleted,
    DeleteIndex,
    Empty,
    Facet,
    Facets,
    Get,
    IndexCreated,
    IndexDeleted,
    NameAlias,
    Operation,
    Page,
    PayloadSet,
    Query,
    Record,
    ResultReply,
    ScoredPoint,
    Scroll,
    SetPayload,
    TenantLimits,
    UpdateCollection,
    Upsert,
    Upserted,
    VectorsChanged,
)
from memq_schemas.model import Model
from memq_schemas.routing import UNNAMED


@dataclass(frozen=True, slots=True)
class WireOperation:
    operation: Operation
    title: str
    summary: str
    body: type[Model]
    result: Any
    example: dict[str, Any]
    example_result: Any

    @property
    def reply(self) -> type[ResultReply]:
        """The success reply with this operation's own result."""
        return create_model(f"{self.title}Reply", __base__=ResultReply, result=(self.result, ...))

    @property
    def address(self) -> str:
        return self.operation.value if self.operation in UNNAMED else f"{self.operation.value}.{{collection}}"

    @property
    def example_reply(self) -> dict[str, Any]:
        return {"status": 200, "result": self.example_result, "elapsed_ms": 1.5}


UUID = "3aec9f96-379f-553d-9acb-30de5460498c"

OPERATIONS = (
    WireOperation(
        Operation.UPSERT,
        "Upsert",
        "insert points, replacing those with the same ids",
        Upsert,
        Upserted,
        {
            "points": [
                {"id": 1, "vector": [1.0, 0.5], "payload": {"lang": "en", "year": 2024}},
                {"id": UUID, "vector": "AACAPwAAAD8=", "payload": {"lang": "de"}, "version": 7},
            ]
        },
        {"upserted": 2},
    ),
    WireOperation(
        Operation.DELETE,
        "Delete",
        "delete points by id or by filter",
        Delete,
        Deleted,
        {"ids": [1, UUID]},
        {"deleted": 2},
    ),
    WireOperation(
        Operation.PAYLOAD,
        "SetPayload",
        "change the payload of points, leaving their vectors alone",
        SetPayload,
        PayloadSet,
        {
            "filter": {"must": [{"key": "lang", "match": {"value": "en"}}]},
            "set": {"reviewed": True},
            "unset": ["draft"],
        },
        {"updated": None},
    ),
    WireOperation(
        Operation.VECTORS,
        "ChangeVectors",
        "replace single vectors of stored points, or remove them",
        ChangeVectors,
        VectorsChanged,
        {"points": [{"id": 1, "vector": {"text": [1.0, 0.5]}}]},
        {"updated": 1},
    ),
    WireOperation(
        Operation.QUERY,
        "Query",
        "the points nearest to a vector, best first",
        Query,
        list[ScoredPoint],
        {
            "vector": [1.0, 0.5],
            "limit": 3,
            "score_threshold": 0.2,
            "filter": {"must": [{"key": "year", "range": {"gte": 2020}}]},
        },
        [{"id": 1, "score": 1.0, "payload": {"lang": "en", "year": 2024}}],
    ),
    WireOperation(
        Operation.GET,
        "Get",
        "points by id; missing ones are left out",
        Get,
        list[Record],
        {"ids": [1, UUID], "with_payload": ["lang"], "with_vector": True},
        [{"id": 1, "payload": {"lang": "en"}, "vector": [1.0, 0.5]}],
    ),
    WireOperation(
        Operation.COUNT,
        "Count",
        "how many points there are, or how many a filter selects",
        Count,
        Counted,
        {"filter": {"must": [{"key": "lang", "match": {"value": "en"}}]}},
        {"count": 1},
    ),
    WireOperation(
        Operation.SCROLL,
        "Scroll",
        "a page of the points, all or those a filter selects, by id or by a payload key",
        Scroll,
        Page,
        {"limit": 2, "offset": 1, "filter": {"must": [{"key": "lang", "match": {"value": "en"}}]}},
        {"points": [{"id": 1, "payload": {"lang": "en"}}, {"id": 4, "payload": {"lang": "en"}}], "next": 9},
    ),
    WireOperation(
        Operation.FACET,
        "Facet",
        "the values of a payload key, and how many points have each",
        Facet,
        Facets,
        {"key": "lang", "limit": 2, "exact": True},
        {"values": [{"value": "en", "count": 7}, {"value": "de", "count": 2}]},
    ),
    WireOperation(
        Operation.LIST,
        "ListCollections",
        "the names of all collections",
        Empty,
        CollectionNames,
        {},
        {"collections": ["docs"]},
    ),
    WireOperation(
        Operation.CREATE,
        "CreateCollection",
        "create a collection",
        CreateCollection,
        Created,
        {
            "vectors": {
                "text": {"size": 2, "distance": "cosine", "datatype": "float16"},
                "colbert": {"size": 2, "distance": "dot", "multivector_config": {"comparator": "max_sim"}},
            },
            "sparse_vectors": {"words": {"modifier": "idf"}},
            "hnsw_config": {"m": 16, "ef_construct": 200},
            "exist_ok": True,
        },
        {"created": True},
    ),
    WireOperation(
        Operation.UPDATE,
        "UpdateCollection",
        "change options of a collection",
        UpdateCollection,
        CollectionUpdated,
        {"hnsw_config": {"m": 32}, "quantization_config": {"scalar": {"type": "int8"}}, "metadata": {"model": "m-2"}},
        {"updated": True},
    ),
    WireOperation(
        Operation.DESCRIBE,
        "DescribeCollection",
        "one collection: its state, options, vectors and payload indexes",
        Empty,
        CollectionDescription,
        {},
        {
            "name": "docs",
            "status": "green",
            "points": 2,
            "vectors": {"": {"size": 2, "distance": "cosine"}},
            "indexes": {"lang": {"type": "keyword", "points": 2, "options": {"is_tenant": True}}},
            "aliases": ["current"],
            "hnsw_config": {"m": 16, "ef_construct": 100},
        },
    ),
    WireOperation(
        Operation.DROP,
        "DeleteCollection",
        "delete a collection with all its points",
        Empty,
        CollectionDeleted,
        {},
        {"deleted": True},
    ),
    WireOperation(
        Operation.CREATE_INDEX,
        "CreateIndex",
        "index a payload key",
        CreateIndex,
        IndexCreated,
        {"key": "lang", "type": "keyword"},
        {"accepted": True},
    ),
    WireOperation(
        Operation.DELETE_INDEX,
        "DeleteIndex",
        "delete the index of a payload key",
        DeleteIndex,
        IndexDeleted,
        {"key": "lang"},
        {"accepted": True},
    ),
    WireOperation(
        Operation.CREATE_ALIAS,
        "CreateAlias",
        "give a collection another name",
        NameAlias,
        AliasCreated,
        {"alias": "current"},
        {"created": True},
    ),
    WireOperation(
        Operation.SWITCH_ALIAS,
        "SwitchAlias",
        "give a collection the alias that another one has, or a new one",
        NameAlias,
        AliasSwitched,
        {"alias": "current"},
        {"before": "docs-1"},
    ),
    WireOperation(
        Operation.DELETE_ALIAS,
        "DeleteAlias",
        "take an alias from a collection",
        NameAlias,
        AliasDeleted,
        {"alias": "current"},
        {"deleted": True},
    ),
    WireOperation(
        Operation.ALIASES,
        "ListAliases",
        "all aliases, with the collections they belong to",
        Empty,
        Aliases,
        {},
        {"aliases": [{"alias": "current", "collection": "docs"}]},
    ),
    WireOperation(
        Operation.LIMITS,
        "ListLimits",
        "the limits of the tenant that asks, and which of them are reached",
        Empty,
        TenantLimits,
        {},
        {
            "tenant": "acme",
            "limits": [
                {"name": "points_per_second", "limit": 500.0, "reached": False},
                {"name": "backlog_bytes", "limit": 67108864, "lane": "live", "reached": True},
                {"name": "stored_points", "limit": 100000, "used": 2500, "reached": False},
            ],
        },
    ),
)
