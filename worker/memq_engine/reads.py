"""The read half of qdrant.Points."""

from typing import Any

import qdrant_edge as edge

from .convert import queries
from .convert.filters import read_optional_filter
from .convert.ids import read_id, read_ids, write_id
from .convert.results import write_hits, write_records
from .engine import Engine
from .proto import messages
from .queries import read_search
from .refusal import invalid, unserved
from .scoring import read_order

_OFFSET_AND_ORDER = (
    "Wrong input: Cannot use an `offset` when using `order_by`. The alternative for paging is to use "
    "`order_by.start_from` and a filter to exclude the IDs that you've already seen for the `order_by.start_from` value"
)


def query(engine: Engine, request: Any) -> Any:
    collection = engine.collection(request.collection_name)
    search = read_search(engine, collection, request)
    reply = messages.QueryResponse()
    write_hits(reply.result, collection.query(search.request), search.score, with_vectors=search.with_vectors)
    return reply


def query_batch(engine: Engine, request: Any) -> Any:
    collection = engine.collection(request.collection_name)
    searches = [read_search(engine, collection, each) for each in request.query_points]
    reply = messages.QueryBatchResponse()
    answers = collection.query_batch([each.request for each in searches]) if searches else []
    for search, hits in zip(searches, answers, strict=True):
        write_hits(reply.result.add().result, hits, search.score, with_vectors=search.with_vectors)
    return reply


def get(engine: Engine, request: Any) -> Any:
    if request.HasField("shard_key_selector"):
        raise unserved("shard_key_selector", "1.7")
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
    collection = engine.collection(request.collection_name)
    if request.HasField("shard_key_selector"):
        raise unserved("shard_key_selector", "1.7")
    order = read_order(request.order_by) if request.HasField("order_by") else None
    if order is not None and request.HasField("offset"):
        raise invalid(_OFFSET_AND_ORDER)
    records, following = collection.scroll(
        edge.ScrollRequest(
            offset=read_id(request.offset) if request.HasField("offset") else None,
            limit=queries.read_limit(request),
            filter=read_optional_filter(request),
            with_payload=queries.read_payload_selector(request, default=True),
            with_vector=queries.read_vectors_selector(request),
            order_by=order,
        )
    )
    reply = messages.ScrollResponse()
    write_records(reply.result, records)
    if following is not None:
        write_id(reply.next_page_offset, following)
    return reply


def facet(engine: Engine, request: Any) -> Any:
    collection = engine.collection(request.collection_name)
    if request.HasField("shard_key_selector"):
        raise unserved("shard_key_selector", "1.7")
    hits = collection.facet(
        request.key,
        limit=request.limit if request.HasField("limit") else queries.DEFAULT_LIMIT,
        exact=request.exact,
        found=read_optional_filter(request),
    )
    reply = messages.FacetResponse()
    for hit in hits:
        value = hit.value
        written = reply.hits.add(count=hit.count)
        if isinstance(value, bool):
            written.value.bool_value = value
        elif isinstance(value, int):
            written.value.integer_value = value
        else:
            written.value.string_value = value
    return reply
