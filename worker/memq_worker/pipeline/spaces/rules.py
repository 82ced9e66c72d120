"""What each field of each body means for a tenant. A field without a rule is refused, so that new ones cannot leak."""

from enum import Enum, auto

from memq_schemas import (
    ChangeVectors,
    Count,
    CreateCollection,
    CreateIndex,
    Delete,
    DeleteIndex,
    Facet,
    Filter,
    Get,
    NameAlias,
    OrderBy,
    PointVectors,
    Query,
    Scroll,
    SetPayload,
    searches,
)
from memq_schemas.collections import Empty, UpdateCollection
from memq_schemas.conditions import FieldCondition
from memq_schemas.filters import HasId, HasVector, IsEmpty, IsNull, KeyOnly, MinShould, Nested, NestedFilter
from memq_schemas.model import Model
from memq_schemas.sparse_vectors import SparseVector


class Rule(Enum):
    """PLAIN fields hold neither a name, an id nor a payload key."""

    PLAIN = auto()
    INNER = auto()  # a body, or a list of bodies, with rules of their own
    KEY = auto()
    KEYS = auto()
    KEYED = auto()  # an object by payload key
    RETURNED = auto()  # `with_payload`
    PAYLOAD = auto()
    FORMULA = auto()
    SELECTION = auto()  # a filter of stored points, which the tenant's own condition joins
    NESTED = auto()  # a filter of array elements: its keys are below a payload key of the tenant
    ID = auto()
    IDS = auto()
    INPUT = auto()  # a vector, the id of a point, or a kind of query
    INPUTS = auto()
    COLLECTION = auto()
    ALIAS = auto()


Fields = dict[str, Rule]


def _fields(plain: str = "", **rules: Rule) -> Fields:
    return {**dict.fromkeys(plain.split(), Rule.PLAIN), **rules}


_INNER, _KEY, _INPUT = Rule.INNER, Rule.KEY, Rule.INPUT

RULES: dict[type[Model], Fields] = {
    Query: _fields(
        "vector limit offset score_threshold with_vector using group_size",
        query=_INPUT,
        prefetch=_INNER,
        filter=Rule.SELECTION,
        with_payload=Rule.RETURNED,
        params=_INNER,
        lookup_from=_INNER,
        group_by=_KEY,
    ),
    searches.Prefetch: _fields(
        "using score_threshold limit",
        query=_INPUT,
        prefetch=_INNER,
        filter=Rule.SELECTION,
        params=_INNER,
        lookup_from=_INNER,
    ),
    searches.LookupFrom: _fields("vector", collection=Rule.COLLECTION),
    searches.Params: _fields("hnsw_ef exact indexed_only", quantization=_INNER, acorn=_INNER),
    searches.QuantizationParams: _fields("ignore rescore oversampling"),
    searches.AcornParams: _fields("enable max_selectivity"),
    searches.Nearest: _fields(nearest=_INPUT, mmr=_INNER),
    searches.Mmr: _fields("diversity candidates_limit"),
    searches.Recommend: _fields(recommend=_INNER),
    searches.RecommendInput: _fields("strategy", positive=Rule.INPUTS, negative=Rule.INPUTS),
    searches.Discover: _fields(discover=_INNER),
    searches.DiscoverInput: _fields(target=_INPUT, context=_INNER),
    searches.Context: _fields(context=_INNER),
    searches.Pair: _fields(positive=_INPUT, negative=_INPUT),
    searches.RelevanceFeedback: _fields(relevance_feedback=_INNER),
    searches.FeedbackInput: _fields(target=_INPUT, feedback=_INNER, strategy=_INNER),
    searches.FeedbackItem: _fields("score", example=_INPUT),
    searches.FeedbackStrategy: _fields(naive=_INNER),
    searches.NaiveFeedback: _fields("a b c"),
    searches.Ordered: _fields(order_by=_INNER),
    searches.Fusion: _fields("fusion"),
    searches.Rrf: _fields(rrf=_INNER),
    searches.RrfInput: _fields("k weights"),
    searches.Sample: _fields("sample"),
    searches.Formula: _fields(formula=Rule.FORMULA, defaults=Rule.KEYED),
    SparseVector: _fields("indices values"),
    OrderBy: _fields("direction start_from", key=_KEY),
    Get: _fields("with_vector", ids=Rule.IDS, with_payload=Rule.RETURNED),
    Count: _fields("exact", filter=Rule.SELECTION),
    Scroll: _fields(
        "limit with_vector", offset=Rule.ID, filter=Rule.SELECTION, order_by=_INNER, with_payload=Rule.RETURNED
    ),
    Facet: _fields("limit exact", key=_KEY, filter=Rule.SELECTION),
    Delete: _fields("version", ids=Rule.IDS, filter=Rule.SELECTION),
    SetPayload: _fields(
        "clear",
        ids=Rule.IDS,
        filter=Rule.SELECTION,
        overwrite=Rule.PAYLOAD,
        set=Rule.PAYLOAD,
        key=_KEY,
        unset=Rule.KEYS,
    ),
    ChangeVectors: _fields("remove", points=_INNER, ids=Rule.IDS, filter=Rule.SELECTION),
    PointVectors: _fields("vector version", id=Rule.ID),
    # Not what the operator decides for all: strict mode, optimizers, shards, replicas and logs.
    CreateCollection: _fields(
        "size distance vectors sparse_vectors exist_ok hnsw_config quantization_config on_disk_payload metadata"
    ),
    UpdateCollection: _fields("vectors sparse_vectors hnsw_config quantization_config on_disk_payload metadata"),
    CreateIndex: _fields(
        "type on_disk enable_hnsw is_tenant is_principal lookup range tokenizer lowercase ascii_folding "
        "min_token_len max_token_len phrase_matching stopwords stemmer",
        key=_KEY,
    ),
    DeleteIndex: _fields(key=_KEY),
    NameAlias: _fields(alias=Rule.ALIAS),
    Empty: {},
    Filter: _fields(must=_INNER, should=_INNER, must_not=_INNER, min_should=_INNER),
    MinShould: _fields("min_count", conditions=_INNER),
    FieldCondition: _fields(
        "match range values_count geo_bounding_box geo_radius geo_polygon is_empty is_null", key=_KEY
    ),
    IsEmpty: _fields(is_empty=_INNER),
    IsNull: _fields(is_null=_INNER),
    KeyOnly: _fields(key=_KEY),
    HasId: _fields(has_id=Rule.IDS),
    HasVector: _fields("has_vector"),
    Nested: _fields(nested=_INNER),
    NestedFilter: _fields(key=_KEY, filter=Rule.NESTED),
}
