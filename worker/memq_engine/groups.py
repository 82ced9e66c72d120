"""Searches whose hits are grouped by a payload key: the engine has none, so more hits are fetched and grouped here."""

import re
from typing import Any, cast

import qdrant_edge as edge

from .collection import Collection
from .convert import queries
from .convert.ids import is_uuid
from .convert.results import write_hits, write_records
from .engine import Engine
from .proto import messages
from .queries import Search, read_search
from .refusal import from_engine, invalid_field, not_found

_GROUP_SIZE = 3
_GROWTH = 4
_MAX_HITS = 100_000
_PART = re.compile(r'"[^"]*"|[^.]+')

Key = str | int


def query_groups(engine: Engine, request: Any) -> Any:
    collection = engine.collection(request.collection_name)
    limit = queries.read_limit(request)
    size = queries.read_limit(request, "group_size", _GROUP_SIZE)
    if not request.group_by:
        raise invalid_field("group_by", 'value "" invalid, must be at least 1 characters')
    groups, search = _groups(engine, collection, request, limit, size)
    reply = messages.QueryGroupsResponse()
    for key, hits in groups.items():
        group = reply.result.groups.add()
        _write_key(group.id, key)
        write_hits(group.hits, hits, search.score, with_vectors=search.with_vectors)
    reply.result.SetInParent()
    if request.HasField("with_lookup"):
        _look_up(engine, request.with_lookup, reply.result.groups, list(groups))
    return reply


def _groups(
    engine: Engine, collection: Collection, request: Any, limit: int, size: int
) -> tuple[dict[Key, list[edge.ScoredPoint]], Search]:
    """The best hits of the best groups, fetched until every group is full or no hits are left."""
    wanted, factor, found = min(limit * size, _MAX_HITS), size, -1
    while True:
        search = read_search(engine, collection, request, wanted, group_by=request.group_by, factor=factor)
        hits = collection.query(search.request)
        groups = _grouped(collection, request.group_by, hits, limit, size)
        full = len(groups) == limit and all(len(each) == size for each in groups.values())
        # Fewer hits than wanted are all there are, unless prefetches with more hits find more.
        exhausted = len(hits) < wanted and (not request.prefetch or len(hits) == found)
        if full or exhausted or wanted >= _MAX_HITS:
            return groups, search
        wanted, factor, found = min(wanted * _GROWTH, _MAX_HITS), factor * _GROWTH, len(hits)


def _grouped(
    collection: Collection, path: str, hits: list[edge.ScoredPoint], limit: int, size: int
) -> dict[Key, list[edge.ScoredPoint]]:
    groups: dict[Key, list[edge.ScoredPoint]] = {}
    if not hits:
        return groups
    try:
        selector: Any = edge.PayloadSelector.Include([path])
    except (ValueError, TypeError) as error:
        raise from_engine(error) from error
    records = collection.retrieve([hit.id for hit in hits], selector, False)
    payloads: dict[Any, Any] = {str(record.id): record.payload for record in records}
    depth = len(_PART.findall(path))
    for hit in hits:
        for key in dict.fromkeys(_keys(payloads.get(str(hit.id)), depth)):
            if key in groups:
                if len(groups[key]) < size:
                    groups[key].append(hit)
            elif len(groups) < limit:
                groups[key] = [hit]
    return groups


def _keys(value: Any, depth: int) -> list[Key]:
    """The texts and integers that a path of `depth` keys leads to."""
    if isinstance(value, list):
        return [key for item in cast("list[Any]", value) for key in _keys(item, depth)]
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value).values()
        return [key for item in inner for key in _keys(item, depth - 1)] if depth else []
    return [value] if depth == 0 and type(value) in (str, int) else []


def _write_key(target: Any, key: Key) -> None:
    if isinstance(key, str):
        target.string_value = key
    elif key >= 0:
        target.unsigned_value = key
    else:
        target.integer_value = key


def _look_up(engine: Engine, lookup: Any, groups: Any, keys: list[Key]) -> None:
    """Add to each group the point of another collection whose id is the group's key."""
    if not engine.has(lookup.collection):
        raise not_found(f"Collection {lookup.collection} not found")
    ids = {key: key for key in keys if (key >= 0 if isinstance(key, int) else is_uuid(key))}
    with_payload = queries.read_payload_selector(lookup, default=True)
    with_vectors = queries.read_vectors_selector(lookup)
    source = engine.collection(lookup.collection)
    found = {str(record.id): record for record in source.retrieve(list(ids), with_payload, with_vectors)}
    for key, group in zip(keys, groups, strict=True):
        record = found.get(str(key))
        if record is not None:
            written = messages.GetResponse()
            write_records(written.result, [record])
            group.lookup.CopyFrom(written.result[0])
