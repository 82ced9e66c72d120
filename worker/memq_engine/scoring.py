"""Every kind of query as one of the engine's scoring queries."""

from array import array
from collections.abc import Callable
from typing import Any

import qdrant_edge as edge

from .convert.formulas import read_formula
from .inputs import Inputs
from .refusal import from_engine, invalid, invalid_field, unserved

_RRF_K = 2
_DIVERSITY = 0.5
BEST_SCORE = 1
_SUM_SCORES = 2


def read_scoring(message: Any, inputs: Inputs, limit: int) -> Any:
    """Return the engine's query. `limit` is the number of hits asked for, the default of MMR's candidates."""
    kind = message.WhichOneof("variant")
    read = _KINDS.get(kind)
    if kind is None or read is None:
        # Newer clients know kinds of query that a server of 1.18 reads as none.
        raise invalid("Query variant is missing")
    value = getattr(message, kind)
    if kind in _FUSIONS and inputs.using:
        raise invalid("Bad request: Fusion queries cannot be combined with the 'using' field.")
    return read(value, inputs, limit)


def _nearest(message: Any, inputs: Inputs, _limit: int) -> Any:
    return _near(inputs.vector(message), inputs)


def _near(vector: Any, inputs: Inputs) -> Any:
    return edge.Query.Nearest(vector, using=inputs.using or None)


def every_point(inputs: Inputs) -> Any:
    """Return the query that finds all points with the vector, at score 0."""
    return edge.Query.RecommendSumScores(edge.RecommendQuery([], []), using=inputs.using or None)


_NO_POSITIVES = "Wrong input: Positive vectors should not be empty with `average` strategy"


def is_average(message: Any) -> bool:
    """Return True for a RecommendInput that is a search near the average of its examples."""
    return message.strategy not in (BEST_SCORE, _SUM_SCORES)


def _recommend(message: Any, inputs: Inputs, _limit: int) -> Any:
    if is_average(message) and not message.positive:
        raise invalid(_NO_POSITIVES)
    positives, negatives = inputs.examples(message.positive), inputs.examples(message.negative)
    if message.strategy == BEST_SCORE:
        return edge.Query.RecommendBestScore(edge.RecommendQuery(positives, negatives), using=inputs.using or None)
    if message.strategy == _SUM_SCORES:
        return edge.Query.RecommendSumScores(edge.RecommendQuery(positives, negatives), using=inputs.using or None)
    if not positives:
        raise invalid(_NO_POSITIVES)
    return _near(_average(positives, negatives), inputs)


def _average(positives: list[Any], negatives: list[Any]) -> Any:
    """The average of the positive examples, moved away from that of the negative ones by their difference."""
    first = positives[0]
    if isinstance(first, edge.SparseVector):
        return _sparse_average(positives, negatives)
    if isinstance(first, list):
        # A server joins the rows of the examples, those of negative ones with their sign changed.
        return [row for each in positives for row in each] + [
            array("f", (-value for value in row)) for each in negatives for row in each
        ]
    good = [sum(values) / len(positives) for values in zip(*positives, strict=True)]
    if not negatives:
        return array("f", good)
    bad = [sum(values) / len(negatives) for values in zip(*negatives, strict=True)]
    return array("f", (2 * plus - minus for plus, minus in zip(good, bad, strict=True)))


def _sparse_average(positives: list[Any], negatives: list[Any]) -> Any:
    values: dict[int, float] = {}
    for examples, weight in ((positives, 2.0 if negatives else 1.0), (negatives, -1.0)):
        for each in examples:
            for index, value in zip(each.indices, each.values, strict=True):
                values[index] = values.get(index, 0.0) + weight * value / len(examples)
    indices = sorted(values)
    return edge.SparseVector(indices, [values[index] for index in indices])


def _pairs(message: Any, inputs: Inputs) -> list[edge.ContextPair]:
    pairs: list[edge.ContextPair] = []
    for pair in message.pairs:
        for side in ("positive", "negative"):
            if not pair.HasField(side):
                raise invalid(f"ContextInputPair {side} is missing")
        pairs.append(edge.ContextPair(inputs.vector(pair.positive), inputs.vector(pair.negative)))
    return pairs


def _discover(message: Any, inputs: Inputs, _limit: int) -> Any:
    if not message.HasField("target"):
        raise invalid("DiscoverInput target is missing")
    if not message.HasField("context"):
        raise invalid("DiscoverInput context is missing")
    target = inputs.vector(message.target)
    return edge.Query.Discover(edge.DiscoverQuery(target, _pairs(message.context, inputs)), using=inputs.using or None)


def _context(message: Any, inputs: Inputs, _limit: int) -> Any:
    return edge.Query.Context(edge.ContextQuery(_pairs(message, inputs)), using=inputs.using or None)


def _feedback(message: Any, inputs: Inputs, _limit: int) -> Any:
    if not message.HasField("target"):
        raise invalid("RelevanceFeedbackInput target is missing")
    if message.strategy.WhichOneof("variant") != "naive":
        raise invalid("FeedbackStrategy variant is missing")
    target = inputs.vector(message.target)
    items = [edge.FeedbackItem(inputs.vector(each.example), each.score) for each in message.feedback]
    naive = message.strategy.naive
    strategy = edge.NaiveFeedbackStrategy(naive.a, naive.b, naive.c)
    return edge.Query.FeedbackNaive(edge.FeedbackNaiveQuery(target, items, strategy), using=inputs.using or None)


def read_order(message: Any) -> edge.OrderBy:
    """Raises Refused for a bad path, and for a start that is no date-time."""
    direction = edge.Direction.Desc if message.direction == 1 else edge.Direction.Asc
    start: Any = None
    if message.HasField("start_from"):
        kind = message.start_from.WhichOneof("value")
        if kind is None:
            raise invalid("Malformed StartFrom")
        start = getattr(message.start_from, kind)
        if kind == "timestamp":
            start = start.ToJsonString()
    try:
        return edge.OrderBy(message.key, direction, start)
    except (ValueError, TypeError) as error:
        text = str(error)
        if text.startswith("failed to parse date-time: "):
            raise invalid(f"Malformed datetime: {text.removeprefix('failed to parse date-time: ')}") from error
        raise from_engine(error) from error


def _fusion(message: Any, _inputs: Inputs, _limit: int) -> Any:
    if message == 0:
        return edge.Fusion.Rrf(_RRF_K)
    if message == 1:
        return edge.Fusion.Dbsf()
    raise invalid("Unknown fusion method")


def _rrf(message: Any, _inputs: Inputs, _limit: int) -> Any:
    k = message.k if message.HasField("k") else _RRF_K
    if k == 0:
        raise invalid_field("query.variant.k", "value 0 invalid, must be 1 or larger")
    return edge.Fusion.Rrf(k, list(message.weights) or None)


def _sample(message: Any, _inputs: Inputs, _limit: int) -> Any:
    if message != 0:
        raise invalid("Unknown sample method")
    return edge.Sample.Random


def _mmr(message: Any, inputs: Inputs, limit: int) -> Any:
    given = message.mmr
    diversity = given.diversity if given.HasField("diversity") else _DIVERSITY
    if not 0.0 <= diversity <= 1.0:
        raise invalid_field("query.variant.mmr.diversity", f"value {diversity} invalid, must be from 0.0 to 1.0")
    vector = inputs.vector(message.nearest)
    if isinstance(vector, edge.SparseVector):
        # The engine fails inside; a server serves it.
        raise unserved("mmr over sparse vectors", "1.15")
    candidates = given.candidates_limit if given.HasField("candidates_limit") else limit
    return edge.Mmr(vector, 1.0 - diversity, candidates, using=inputs.using or None)


_FUSIONS = ("fusion", "rrf")
_KINDS: dict[str | None, Callable[[Any, Inputs, int], Any]] = {
    "nearest": _nearest,
    "recommend": _recommend,
    "discover": _discover,
    "context": _context,
    "relevance_feedback": _feedback,
    "order_by": lambda message, _inputs, _limit: read_order(message),
    "fusion": _fusion,
    "rrf": _rrf,
    "sample": _sample,
    "formula": lambda message, _inputs, _limit: read_formula(message),
    "nearest_with_mmr": _mmr,
}
