"""Queries in Qdrant's REST grammar as its protobuf messages."""

from typing import Any, cast

import numpy as np

from memq_qdrant import grpc
from memq_schemas import searches
from memq_schemas.model import listed
from memq_schemas.sparse_vectors import SparseVector
from memq_schemas.vectors import FloatArray, to_array
from memq_worker.qdrant.filters import point_id, where
from memq_worker.qdrant.orders import order_by
from memq_worker.qdrant.protobuf import field, tag

_DATA = grpc.DenseVector(data=[0.0]).SerializeToString()[:1]  # the tag of its packed numbers
_DENSE = tag(grpc.VectorInput(dense=grpc.DenseVector()))
_NEAREST = tag(grpc.Query(nearest=grpc.VectorInput()))

_STRATEGIES = {
    "average_vector": grpc.RecommendStrategy.AverageVector,
    "best_score": grpc.RecommendStrategy.BestScore,
    "sum_scores": grpc.RecommendStrategy.SumScores,
}


def vector_input(value: Any) -> Any:
    """Return the VectorInput of a vector or an id. Raises ValueError for base64 that is none."""
    if isinstance(value, SparseVector):
        indices, values = value.arrays
        return grpc.VectorInput(sparse=grpc.SparseVector(indices=indices.tolist(), values=values.tolist()))
    if searches.names_point(value):
        return grpc.VectorInput(id=point_id(value))
    # Everything else is decoded by the contract, except the dense vectors inside `query` and `prefetch`.
    numbers = cast("FloatArray", value) if isinstance(value, np.ndarray) else to_array(value)
    if numbers.ndim == 2:
        rows = [grpc.DenseVector(data=row) for row in numbers.tolist()]
        return grpc.VectorInput(multi_dense=grpc.MultiDenseVector(vectors=rows))
    return grpc.VectorInput.FromString(_dense(numbers))


def _dense(numbers: FloatArray) -> bytes:
    # The bytes that protobuf has for packed floats: a list of floats would take ten times as long.
    return field(_DENSE, field(_DATA, numbers.tobytes()))


def near(numbers: FloatArray) -> bytes:
    """Return the Query for the points nearest to a dense vector, as the bytes of the message."""
    return field(_NEAREST, _dense(numbers))


def query_of(query: Any) -> Any:
    """Return the Query of a `query` field. Raises ValueError as `vector_input` does."""
    match query:
        case searches.Nearest():
            return _nearest(query)
        case searches.Recommend():
            return grpc.Query(recommend=_recommend(query.recommend))
        case searches.Discover():
            target = vector_input(query.discover.target)
            return grpc.Query(discover=grpc.DiscoverInput(target=target, context=_pairs(query.discover.context)))
        case searches.Context():
            return grpc.Query(context=_pairs(query.context))
        case searches.RelevanceFeedback():
            return grpc.Query(relevance_feedback=_feedback(query.relevance_feedback))
        case _:
            return _without_vectors(query)


def _without_vectors(query: Any) -> Any:
    match query:
        case searches.Ordered():
            return grpc.Query(order_by=order_by(query.order_by))
        case searches.Fusion():
            return grpc.Query(fusion=grpc.Fusion.DBSF if query.fusion == "dbsf" else grpc.Fusion.RRF)
        case searches.Rrf():
            return grpc.Query(rrf=grpc.Rrf(k=query.rrf.k, weights=query.rrf.weights or ()))
        case searches.Sample():
            return grpc.Query(sample=grpc.Sample.Random)
        case searches.Formula():
            # Not at the top: it imports the REST models of qdrant-client, which nothing else needs.
            from memq_worker.qdrant.formulas import formula_of

            return grpc.Query(formula=formula_of(query))
        case _:
            return grpc.Query(nearest=vector_input(query))


def _nearest(given: searches.Nearest) -> Any:
    near = vector_input(given.nearest)
    if given.mmr is None:
        return grpc.Query(nearest=near)
    mmr = grpc.Mmr(diversity=given.mmr.diversity, candidates_limit=given.mmr.candidates_limit)
    return grpc.Query(nearest_with_mmr=grpc.NearestInputWithMmr(nearest=near, mmr=mmr))


def _recommend(given: searches.RecommendInput) -> Any:
    return grpc.RecommendInput(
        positive=[vector_input(each) for each in given.positive or ()],
        negative=[vector_input(each) for each in given.negative or ()],
        strategy=_STRATEGIES[given.strategy],
    )


def _pairs(given: searches.Pair | list[searches.Pair] | None) -> Any:
    return grpc.ContextInput(
        pairs=[
            grpc.ContextInputPair(positive=vector_input(pair.positive), negative=vector_input(pair.negative))
            for pair in listed(given)
        ]
    )


def _feedback(given: searches.FeedbackInput) -> Any:
    naive = grpc.NaiveFeedbackStrategy(**given.strategy.naive.model_dump())
    return grpc.RelevanceFeedbackInput(
        target=vector_input(given.target),
        feedback=[grpc.FeedbackItem(example=vector_input(each.example), score=each.score) for each in given.feedback],
        strategy=grpc.FeedbackStrategy(naive=naive),
    )


def prefetches_of(given: Any) -> list[Any]:
    """Raises ValueError as `vector_input` does."""
    return [_prefetch(each) for each in listed(given)]


def _prefetch(given: searches.Prefetch) -> Any:
    return grpc.PrefetchQuery(
        prefetch=prefetches_of(given.prefetch),
        query=None if given.query is None else query_of(given.query),
        using=given.using,
        filter=where(given.filter),
        params=params_of(given.params),
        score_threshold=given.score_threshold,
        limit=given.limit,
        lookup_from=lookup_of(given.lookup_from),
    )


def params_of(params: searches.Params | None) -> Any:
    if params is None:
        return None
    # Its fields have the names that Qdrant's messages give them.
    return grpc.SearchParams(**params.model_dump(exclude_none=True))


def lookup_of(place: searches.LookupFrom | None) -> Any:
    if place is None:
        return None
    return grpc.LookupLocation(collection_name=place.collection, vector_name=place.vector)
