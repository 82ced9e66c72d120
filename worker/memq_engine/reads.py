"""The read half of qdrant.Points."""

import math
from dataclasses import dataclass
from typing import Any

import qdrant_edge as edge

from .collection import Collection
from .convert import queries
from .convert.filters import read_optional_filter
from .convert.ids import read_ids, write_id
from .convert.results import write_hits, write_records
from .engine import Engine
from .proto import messages
from .refusal import unserved


@dataclass(frozen=True)
class _Search:
    request: edge.QueryRequest
    score: float | None = None
    """Overrides the score of every hit."""


def _search(collection: Collection, request: Any) -> _Search:
    target = queries.read_query_target(request)
    near: int | str | None = None
    if isinstance(target, int | str):
        near = target
        target = collection.vector_of(near, request.using)
    if target is None:
        return _Search(queries.read_query(request, None, None))
    if queries.has_nan(target):
        # A server answers with every point at score NaN, the engine with nothing; the dimension is checked either way.
        collection.check_vector(request.using, len(target))
        return _Search(queries.read_query(request, None, near), score=math.nan)
    return _Search(queries.read_query(request, edge.Query.Nearest(target, using=request.using or None), near))


def query(engine: Engine, request: Any) -> Any:
    collection = engine.collection(request.collection_name)
    search = _search(collection, request)
    reply = messages.QueryResponse()
    write_hits(reply.result, collection.query(search.request), search.score)
    return reply


def query_batch(engine: Engine, request: Any) -> Any:
    collection = engine.collection(request.collection_name)
    searches = [_search(collection, each) for each in request.query_points]
    reply = messages.QueryBatchResponse()
    answers = collection.query_batch([each.request for each in searches]) if searches else []
    for search, hits in zip(searches, answers, strict=True):
        write_hits(reply.result.add().result, hits, search.score)
    return reply


def get(engine: Engine, request: Any) -> Any:
    if request.HasField("shard_key_selector"):
        raise unserved("A shard key")
    collection = engine.collection(request.collection_name)
    records = collection.retrieve(
        read_ids(request.ids), queries.read_payload_selector(request), queries.read_vectors_selector(request)
    )
    reply = messages.GetResponse()
    write_records(reply.result, records)
    return reply


def count(engine: Engine, request: Any) -> Any:
    collection = engine.collection(request.collection_name)
    exact = request.exact if request.HasField("exact") else True
    found = collection.count(read_optional_filter(request), exact)
    return messages.CountResponse(result=messages.CountResult(count=found))


def scroll(engine: Engine, request: Any) -> Any:
    scrolled = queries.read_scroll(request)
    records, following = engine.collection(request.collection_name).scroll(scrolled)
    reply = messages.ScrollResponse()
    write_records(reply.result, records)
    if following is not None:
        write_id(reply.next_page_offset, following)
    return reply
