"""The contract between producers and workers: bodies, replies, codes, routing keys, headers and topology. No I/O."""

from memq_schemas.aliases import Alias, AliasCreated, AliasDeleted, Aliases, AliasSwitched, NameAlias
from memq_schemas.codes import CODES, CodeMeaning, ErrorCode
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
from memq_schemas.points import (
    Delete,
    Deleted,
    PayloadSet,
    Point,
    SetPayload,
    Upsert,
    Upserted,
)
from memq_schemas.queries import Count, Counted, Get, Queries, Query, QueryResult, Record, ScoredPoint
from memq_schemas.replies import ErrorDetail, ErrorReply, ResultReply, error_reply
from memq_schemas.routing import Operation, check_collection, parse_routing_key, routing_key
from memq_schemas.scrolling import OrderBy
from memq_schemas.scrolls import OrderedRecord, Page, Scroll
from memq_schemas.tenant_limits import TenantLimit, TenantLimits
from memq_schemas.topology import Names, Topology, definitions, topology
from memq_schemas.vector_changes import ChangeVectors, PointVectors, VectorsChanged
from memq_schemas.vector_params import Distance, SparseVectorParams, VectorParams

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
