"""The contract between producers and workers: bodies, replies, codes, routing keys, headers and topology. No I/O.

Models are imported on first use: most processes need few of them, and pydantic takes a fifth of a second for all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from memq_schemas.codes import CODES, CodeMeaning, ErrorCode
from memq_schemas.routing import Operation, check_collection, parse_routing_key, routing_key
from memq_schemas.topology import Names, Topology, definitions, topology

if TYPE_CHECKING:
    from memq_schemas.aliases import Alias, AliasCreated, AliasDeleted, Aliases, AliasSwitched, NameAlias
    from memq_schemas.collections import (
        CollectionDeleted,
        CollectionDescription,
        CollectionNames,
        CollectionUpdated,
        CreateCollection,
        Created,
        Empty,
        PayloadIndex,
        UpdateCollection,
        VectorChange,
    )
    from memq_schemas.facets import Facet, Facets, FacetValue
    from memq_schemas.filters import Filter
    from memq_schemas.ids import PointId, point_id
    from memq_schemas.indexes import CreateIndex, DeleteIndex, IndexCreated, IndexDeleted, IndexType, Stopwords
    from memq_schemas.points import Delete, Deleted, PayloadSet, Point, SetPayload, Upsert, Upserted
    from memq_schemas.queries import Count, Counted, Get, Queries, Query, QueryResult, Record, ScoredPoint
    from memq_schemas.replies import ErrorDetail, ErrorReply, ResultReply, error_reply
    from memq_schemas.scrolling import OrderBy
    from memq_schemas.scrolls import OrderedRecord, Page, Scroll
    from memq_schemas.tenant_limits import TenantLimit, TenantLimits
    from memq_schemas.vector_changes import ChangeVectors, PointVectors, VectorsChanged
    from memq_schemas.vector_params import Distance, SparseVectorParams, VectorParams

_MODULES = {
    "memq_schemas.aliases": (
        "Alias",
        "AliasCreated",
        "AliasDeleted",
        "Aliases",
        "AliasSwitched",
        "NameAlias",
    ),
    "memq_schemas.collections": (
        "CollectionDeleted",
        "CollectionDescription",
        "CollectionNames",
        "CollectionUpdated",
        "CreateCollection",
        "Created",
        "Empty",
        "PayloadIndex",
        "UpdateCollection",
        "VectorChange",
    ),
    "memq_schemas.facets": (
        "Facet",
        "Facets",
        "FacetValue",
    ),
    "memq_schemas.filters": ("Filter",),
    "memq_schemas.ids": (
        "PointId",
        "point_id",
    ),
    "memq_schemas.indexes": (
        "CreateIndex",
        "DeleteIndex",
        "IndexCreated",
        "IndexDeleted",
        "IndexType",
        "Stopwords",
    ),
    "memq_schemas.points": (
        "Delete",
        "Deleted",
        "PayloadSet",
        "Point",
        "SetPayload",
        "Upsert",
        "Upserted",
    ),
    "memq_schemas.queries": (
        "Count",
        "Counted",
        "Get",
        "Queries",
        "Query",
        "QueryResult",
        "Record",
        "ScoredPoint",
    ),
    "memq_schemas.replies": (
        "ErrorDetail",
        "ErrorReply",
        "ResultReply",
        "error_reply",
    ),
    "memq_schemas.scrolling": ("OrderBy",),
    "memq_schemas.scrolls": (
        "OrderedRecord",
        "Page",
        "Scroll",
    ),
    "memq_schemas.tenant_limits": (
        "TenantLimit",
        "TenantLimits",
    ),
    "memq_schemas.vector_changes": (
        "ChangeVectors",
        "PointVectors",
        "VectorsChanged",
    ),
    "memq_schemas.vector_params": (
        "Distance",
        "SparseVectorParams",
        "VectorParams",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CODES",
    "Alias",
    "AliasCreated",
    "AliasDeleted",
    "AliasSwitched",
    "Aliases",
    "ChangeVectors",
    "CodeMeaning",
    "CollectionDeleted",
    "CollectionDescription",
    "CollectionNames",
    "CollectionUpdated",
    "Count",
    "Counted",
    "CreateCollection",
    "CreateIndex",
    "Created",
    "Delete",
    "DeleteIndex",
    "Deleted",
    "Distance",
    "Empty",
    "ErrorCode",
    "ErrorDetail",
    "ErrorReply",
    "Facet",
    "FacetValue",
    "Facets",
    "Filter",
    "Get",
    "IndexCreated",
    "IndexDeleted",
    "IndexType",
    "NameAlias",
    "Names",
    "Operation",
    "OrderBy",
    "OrderedRecord",
    "Page",
    "PayloadIndex",
    "PayloadSet",
    "Point",
    "PointId",
    "PointVectors",
    "Queries",
    "Query",
    "QueryResult",
    "Record",
    "ResultReply",
    "ScoredPoint",
    "Scroll",
    "SetPayload",
    "SparseVectorParams",
    "Stopwords",
    "TenantLimit",
    "TenantLimits",
    "Topology",
    "UpdateCollection",
    "Upsert",
    "Upserted",
    "VectorChange",
    "VectorParams",
    "VectorsChanged",
    "check_collection",
    "definitions",
    "error_reply",
    "parse_routing_key",
    "point_id",
    "routing_key",
    "topology",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'memq_schemas' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
