"""Searches whose hits are grouped by a payload key, in several rounds: the engine has none."""

import re
from collections.abc import Iterable
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
_ROUNDS = 5  # at most, for each of both kinds of requests
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
    best = groups.best()
    for key in best:
        group = reply.result.groups.add()
        _write_key(group.id, key)
        write_hits(group.hits, groups.hits(key), search.score, with_vectors=search.with_vectors)
    reply.result.SetInParent()
    if request.HasField("with_lookup"):
        _look_up(engine, request.with_lookup, reply.result.groups, best)
    return reply


class _Groups:
    """Hits by the values of a payload key. most: groups asked for, of `size` hits each. order: as `Search.order`."""

    def __init__(self, most: int, size: int, order: int) -> None:
        self._most = most
        self._size = size
        self._order = order
        self._hits: dict[Key, dict[str, edge.ScoredPoint]] = {}
        self.ids: set[Any] = set()

    def add(self, hit: edge.ScoredPoint, keys: Iterable[Key]) -> None:
        for key in keys:
            self._hits.setdefault(key, {}).setdefault(str(hit.id), hit)
            self.ids.add(hit.id)

    def _rank(self, hit: edge.ScoredPoint) -> float:
        return self._order * hit.score

    def best(self) -> list[Key]:
        """Keys of the groups with the best hits."""
        return sorted(self._hits, key=lambda key: min(map(self._rank, self._hits[key].values())))[: self._most]

    def hits(self, key: Key) -> list[edge.ScoredPoint]:
        return sorted(self._hits[key].values(), key=self._rank)[: self._size]

    @property
    def full(self) -> list[Key]:
        return [key for key, hits in self._hits.items() if len(hits) >= self._size]

    @property
    def best_not_full(self) -> list[Key]:
        return [key for key in self.best() if len(self._hits[key]) < self._size]

    @property
    def complete(self) -> bool:
        best = self.best()
        return len(best) == self._most and all(len(self._hits[key]) >= self._size for key in best)


def _groups(engine: Engine, collection: Collection, request: Any, limit: int, size: int) -> tuple[_Groups, Search]:
    """Ask in rounds as a server does: for hits of groups that are not full, then for more hits of the best groups."""
    wanted = min(limit * size, _MAX_HITS)
    path = request.group_by
    search = read_search(engine, collection, request, wanted, chosen=_chosen(path, set()), factor=size)
    groups = _Groups(limit, size, search.order)
    for fills in (False, True):
        for _ in range(_ROUNDS):
            if groups.ids:
                must = _is_one_of(path, groups.best_not_full) if fills else _is_none_of(path, groups.full)
                chosen = _chosen(path, groups.ids, must)
                search = read_search(engine, collection, request, wanted, chosen=chosen, factor=size)
            hits = collection.query(search.request)
            if not hits:
                break
            for hit, keys in zip(hits, _keys_of(collection, path, hits), strict=True):
                groups.add(hit, keys)
            if groups.complete:
                return groups, search
    return groups, search


def _chosen(path: str, ids: set[Any], must: list[Any] | None = None) -> edge.Filter:
    """The filter for the points that have a value at the path and are not among the ids."""
    try:
        return edge.Filter(must=must or None, must_not=[edge.IsEmptyCondition(path), edge.HasIdCondition(ids)])
    except (ValueError, TypeError) as error:
        raise from_engine(error) from error


def _of_each_type(keys: Iterable[Key]) -> list[Any]:
    """The texts among the keys, and the integers, where there are any."""
    by_type: dict[type, list[Key]] = {}
    for key in keys:
        by_type.setdefault(type(key), []).append(key)
    return list(by_type.values())


def _is_none_of(path: str, keys: Iterable[Key]) -> list[Any]:
    return [edge.FieldCondition(path, match=edge.MatchExcept(each)) for each in _of_each_type(keys)]


def _is_one_of(path: str, keys: Iterable[Key]) -> list[Any]:
    return [edge.FieldCondition(path, match=edge.MatchAny(each)) for each in _of_each_type(keys)]


def _keys_of(collection: Collection, path: str, hits: list[edge.ScoredPoint]) -> list[list[Key]]:
    """The groups that each hit belongs to."""
    try:
        selector: Any = edge.PayloadSelector.Include([path])
    except (ValueError, TypeError) as error:
        raise from_engine(error) from error
    records = collection.retrieve([hit.id for hit in hits], selector, False)
    payloads: dict[Any, Any] = {str(record.id): record.payload for record in records}
    depth = len(_PART.findall(path))
    return [list(dict.fromkeys(_keys(payloads.get(str(hit.id)), depth))) for hit in hits]


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
