"""Qdrant's REST grammar of queries, as far as every server from 1.18 on reads it alike.

Source: https://api.qdrant.tech/api-reference/search/query-points
"""

from typing import Annotated, Any, Literal, cast

import numpy as np
from pydantic import BeforeValidator, Discriminator, Field, JsonValue, Tag, model_validator

from memq_schemas.filters import WholeFilter
from memq_schemas.formulas import check_formula
from memq_schemas.ids import MAX_ID
from memq_schemas.limits import MAX_FILTER_DEPTH
from memq_schemas.model import Input, first_given, how_many, listed
from memq_schemas.multivectors import Multivector
from memq_schemas.scrolling import Order
from memq_schemas.sparse_vectors import SparseVector
from memq_schemas.vectors import DenseVector, VectorName

MAX_EXAMPLES = 1_000  # vectors of one query
MAX_PREFETCHES = 100  # of one query, at all its levels

Limit = Annotated[int, Field(ge=1, le=10_000)]


_NumberId = Annotated[int, Field(ge=0, le=MAX_ID)]
_UUID_LENGTH = 36


def _input_kind(value: object) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return "(id)"
    if isinstance(value, str):
        return "(uuid)" if len(value) == _UUID_LENGTH and value.count("-") == 4 else "(dense)"
    if isinstance(value, list):
        listed = cast("list[Any]", value)
        return "(rows)" if listed and isinstance(listed[0], list | str) else "(dense)"
    if isinstance(value, np.ndarray):
        return "(rows)"  # decoded already
    return "(sparse)" if isinstance(value, (dict, SparseVector)) else None


def names_point(value: object) -> bool:
    """Return True if a VectorInput is the id of a point, whose vector is meant."""
    return _input_kind(value) in ("(id)", "(uuid)")


_UuidId = Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")]
VectorInput = Annotated[
    Annotated[_NumberId, Tag("(id)")]
    | Annotated[_UuidId, Tag("(uuid)")]
    | Annotated[DenseVector, Tag("(dense)")]
    | Annotated[Multivector, Tag("(rows)")]
    | Annotated[SparseVector, Tag("(sparse)")],
    Discriminator(
        _input_kind,
        custom_error_type="type",
        custom_error_message="expected a vector (numbers, base64, rows, or indices with values) or a point's id",
    ),
]
_Examples = Annotated[list[VectorInput], Field(fail_fast=True, max_length=MAX_EXAMPLES)]


class Mmr(Input):
    diversity: Annotated[float, Field(ge=0, le=1)] | None = None
    candidates_limit: Limit | None = None


class Nearest(Input):
    nearest: VectorInput
    mmr: Mmr | None = None


class RecommendInput(Input):
    positive: _Examples | None = None
    negative: _Examples | None = None
    strategy: Literal["average_vector", "best_score", "sum_scores"] = "average_vector"

    @model_validator(mode="after")
    def _some_examples(self) -> "RecommendInput":
        if self.strategy == "average_vector" and not self.positive:
            raise ValueError("positive: average_vector needs at least one example")
        if not self.positive and not self.negative:
            raise ValueError("positive, negative: at least one example is needed")
        return self


class Recommend(Input):
    recommend: RecommendInput


class Pair(Input):
    positive: VectorInput
    negative: VectorInput


_PairList = Annotated[list[Pair], Field(fail_fast=True, max_length=MAX_EXAMPLES)]
_SomePairs = Annotated[list[Pair], Field(fail_fast=True, min_length=1, max_length=MAX_EXAMPLES)]


class DiscoverInput(Input):
    target: VectorInput
    context: (
        Annotated[Annotated[_PairList, Tag("(list)")] | Annotated[Pair, Tag("(one)")], Discriminator(how_many)] | None
    ) = None


class Discover(Input):
    discover: DiscoverInput


class Context(Input):
    context: Annotated[Annotated[_SomePairs, Tag("(list)")] | Annotated[Pair, Tag("(one)")], Discriminator(how_many)]


class FeedbackItem(Input):
    example: VectorInput
    score: Annotated[float, Field(description="how well the example fits, in the user's judgement: more is better")]


class NaiveFeedback(Input):
    """Coefficients, trained for the data: of the similarity to the target, and of pairs of examples.

    Source: https://qdrant.tech/articles/relevance-feedback/
    """

    a: Annotated[float, Field(description="weight of the similarity to the target")]
    b: Annotated[float, Field(description="exponent of the difference of the scores of two examples")]
    c: Annotated[float, Field(description="weight of being nearer to the better of the two")]


class FeedbackStrategy(Input):
    naive: NaiveFeedback


class FeedbackInput(Input):
    target: VectorInput
    feedback: Annotated[list[FeedbackItem], Field(fail_fast=True, max_length=MAX_EXAMPLES)]
    strategy: FeedbackStrategy


class RelevanceFeedback(Input):
    relevance_feedback: FeedbackInput


class Ordered(Input):
    order_by: Order


class Fusion(Input):
    fusion: Literal["rrf", "dbsf"]


class RrfInput(Input):
    k: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    weights: Annotated[list[float], Field(fail_fast=True, max_length=MAX_PREFETCHES)] | None = None


class Rrf(Input):
    rrf: RrfInput


class Sample(Input):
    sample: Literal["random"]


class Formula(Input):
    formula: Annotated[
        JsonValue,
        BeforeValidator(check_formula),
        Field(description="a number, `$score`, a payload key, a condition, or an object of one operator"),
    ]
    defaults: dict[str, JsonValue] | None = None


_KINDS = {
    "nearest": "(nearest)",
    "recommend": "(recommend)",
    "discover": "(discover)",
    "context": "(context)",
    "relevance_feedback": "(relevance-feedback)",
    "order_by": "(order-by)",
    "fusion": "(fusion)",
    "rrf": "(rrf)",
    "sample": "(sample)",
    "formula": "(formula)",
}


def _query_kind(value: object) -> str:
    if isinstance(value, dict):
        return first_given(value, _KINDS, "(vector)")
    return _BY_TYPE.get(type(value), "(vector)")


QueryKind = Annotated[
    Annotated[VectorInput, Tag("(vector)")]
    | Annotated[Nearest, Tag("(nearest)")]
    | Annotated[Recommend, Tag("(recommend)")]
    | Annotated[Discover, Tag("(discover)")]
    | Annotated[Context, Tag("(context)")]
    | Annotated[RelevanceFeedback, Tag("(relevance-feedback)")]
    | Annotated[Ordered, Tag("(order-by)")]
    | Annotated[Fusion, Tag("(fusion)")]
    | Annotated[Rrf, Tag("(rrf)")]
    | Annotated[Sample, Tag("(sample)")]
    | Annotated[Formula, Tag("(formula)")],
    Discriminator(_query_kind),
]
_BY_TYPE: dict[type, str] = {
    kind: _KINDS[next(iter(kind.model_fields))]
    for kind in (Nearest, Recommend, Discover, Context, RelevanceFeedback, Ordered, Fusion, Rrf, Sample, Formula)
}


class QuantizationParams(Input):
    ignore: bool | None = None
    rescore: bool | None = None
    oversampling: Annotated[float, Field(ge=1)] | None = None


class AcornParams(Input):
    enable: bool | None = None
    max_selectivity: Annotated[float, Field(ge=0, le=1)] | None = None


class Params(Input):
    """How the store searches: `hnsw_ef`, `exact` and so on, as in Qdrant."""

    hnsw_ef: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    exact: bool | None = None
    indexed_only: bool | None = None
    quantization: QuantizationParams | None = None
    acorn: AcornParams | None = None


class LookupFrom(Input):
    """Where the vectors of the ids in a query come from."""

    collection: str
    vector: VectorName | None = None


class Prefetch(Input):
    """A query whose hits the query around it chooses from."""

    query: QueryKind | None = None
    prefetch: "Prefetches | None" = None
    using: VectorName | None = None
    filter: WholeFilter | None = None
    params: Params | None = None
    score_threshold: float | None = None
    limit: Limit = 10
    lookup_from: LookupFrom | None = None

    @model_validator(mode="after")
    def _query_above(self) -> "Prefetch":
        if self.prefetch is not None and self.query is None:
            raise ValueError("query: needed where there is a prefetch")
        return self


Prefetches = Annotated[
    Annotated[list[Prefetch], Field(fail_fast=True, min_length=1, max_length=MAX_PREFETCHES), Tag("(list)")]
    | Annotated[Prefetch, Tag("(one)")],
    Discriminator(how_many),
]
Prefetch.model_rebuild()


def check_prefetches(given: "Prefetch | list[Prefetch] | None") -> None:
    """Raises ValueError for too many prefetches, and for too many levels of them."""
    level, total, depth = listed(given), 0, 0
    while level:
        depth, total = depth + 1, total + len(level)
        if depth > MAX_FILTER_DEPTH:
            raise ValueError(f"prefetch: nested more than {MAX_FILTER_DEPTH} levels deep")
        if total > MAX_PREFETCHES:
            raise ValueError(f"prefetch: more than {MAX_PREFETCHES} in one query")
        level = [inner for each in level for inner in listed(each.prefetch)]
