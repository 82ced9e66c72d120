"""110 questions, good and bad, in the order that the recorded answers depend on.

The answers in qdrant_answers.json are Qdrant 1.18.3's. `prefix` goes before every collection name that exists, so
that asking a server somebody else uses too harms nothing there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import payload_to_grpc

from tests.contract.messages import (
    ALL_PAYLOAD,
    ALL_VECTORS,
    between,
    dense,
    has_id,
    is_empty,
    match,
    matching,
    must,
    named,
    near,
    near_id,
    point,
    point_id,
    single_vector,
    these,
    vector_map,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UUID_3 = "00000000-0000-4000-8000-000000000003"
UUID_20 = "00000000-0000-4000-8000-000000000020"
X = [1, 0, 0, 0]


@dataclass(frozen=True)
class Question:
    name: str
    method: str
    request: Any


class Script:
    def __init__(self, prefix: str) -> None:
        self.main = f"{prefix}answers"
        self.named = f"{prefix}named"
        self.missing = f"{prefix}nope"
        self._prefix = prefix

    def questions(self) -> Iterator[Question]:
        parts = (
            self._collections, self._upserts, self._odd_points, self._named_points, self._queries, self._bad_queries,
            self._filters, self._other_filters, self._query_forms, self._lookups, self._payload, self._conditional,
            self._deletes, self._ending,
        )  # fmt: skip
        for part in parts:
            for name, method, request in part():
                yield Question(name, method, request)

    def _create(self, name: str, vectors: Any) -> tuple[str, Any]:
        return "collections.Create", q.CreateCollection(collection_name=name, vectors_config=vectors)

    def _upsert(self, *points: Any, to: str | None = None, wait: bool = True, **more: Any) -> tuple[str, Any]:
        return "points.Upsert", q.UpsertPoints(collection_name=to or self.main, wait=wait, points=points, **more)

    def _query(self, vector: Sequence[float], of: str | None = None, limit: int = 10, **more: Any) -> tuple[str, Any]:
        request = q.QueryPoints(
            collection_name=of or self.main, query=near(*vector), limit=limit, with_payload=ALL_PAYLOAD, **more
        )
        return "points.Query", request

    def _where(self, found: Any) -> tuple[str, Any]:
        return self._query(X, filter=found)

    def _collections(self) -> Iterator[tuple[str, str, Any]]:
        p = self._prefix
        four = single_vector(4)
        yield "collection/create", *self._create(self.main, four)
        yield "collection/create again", *self._create(self.main, four)
        yield "collection/create size 0", *self._create(f"{p}zero", single_vector(0))
        yield "collection/create size 70000", *self._create(f"{p}big", single_vector(70000))
        yield "collection/create empty name", *self._create("", four)
        yield "collection/create name with slash", *self._create("a/b", four)
        yield "collection/create name with dot", *self._create(f"{p}a.b", four)
        yield "collection/create name 256 long", *self._create("n" * 256, four)
        yield "collection/create unknown distance", *self._create(f"{p}ud", single_vector(4, 0))
        yield (
            "collection/create no vectors",
            "collections.Create",
            q.CreateCollection(collection_name=f"{p}novec"),
        )
        vectors = vector_map(a=(2, q.Distance.Dot), b=(3, q.Distance.Euclid))
        yield "collection/create named", *self._create(self.named, vectors)
        exists = "collections.CollectionExists"
        yield "collection/exists", exists, q.CollectionExistsRequest(collection_name=self.main)
        yield "collection/exists not", exists, q.CollectionExistsRequest(collection_name=self.missing)
        yield "collection/list", "collections.List", q.ListCollectionsRequest()
        yield (
            "collection/get missing",
            "collections.Get",
            q.GetCollectionInfoRequest(collection_name=self.missing),
        )
        yield (
            "collection/delete missing",
            "collections.Delete",
            q.DeleteCollection(collection_name=self.missing),
        )

    def _upserts(self) -> Iterator[tuple[str, str, Any]]:
        yield (
            "upsert/three",
            *self._upsert(
                point(1, dense(1, 0, 0, 0), user="a", n=1, tags=["x", "y"], nested={"k": "v"}),
                point(2, dense(0, 1, 0, 0), user="b", n=2, f=1.5, ok=True, none=None),
                point(UUID_3, dense(0.6, 0.8, 0, 0), user="a", n=3),
            ),
        )
        yield "upsert/no points", *self._upsert()
        yield "upsert/wait false", *self._upsert(point(4, dense(0, 0, 1, 0), user="c", n=4), wait=False)
        yield "upsert/missing collection", *self._upsert(point(1, dense(*X)), to=self.missing)
        yield "upsert/wrong dimension", *self._upsert(point(9, dense(1, 0, 0)))
        middle = point(10, dense(*X)), point(11, dense(1, 0)), point(12, dense(*X))
        yield "upsert/wrong dimension in the middle", *self._upsert(*middle)
        yield "get/after partial batch", *self._get(10, 11, 12, with_payload=ALL_PAYLOAD)

    def _odd_points(self) -> Iterator[tuple[str, str, Any]]:
        yield "upsert/empty vector", *self._upsert(point(13, dense()))
        yield "upsert/no vectors field", *self._upsert(q.PointStruct(id=point_id(14)))
        yield "upsert/no id", *self._upsert(q.PointStruct(vectors=dense(*X)))
        yield "upsert/bad uuid", *self._upsert(point("not-a-uuid", dense(*X)))
        yield "upsert/uuid without dashes", *self._upsert(point(UUID_20.replace("-", ""), dense(*X)))
        yield "upsert/uuid upper case", *self._upsert(point("0000000A-0000-4000-8000-00000000ABCD", dense(*X)))
        yield "upsert/u64 max", *self._upsert(point(2**64 - 1, dense(*X)))
        yield "upsert/unknown vector name", *self._upsert(point(15, named(zz=[1, 0, 0, 0])))
        twice = point(16, dense(*X), v="first"), point(16, dense(0, 1, 0, 0), v="second")
        yield "upsert/duplicate id, last wins?", *self._upsert(*twice)
        yield "get/duplicate id", *self._get(16, with_payload=ALL_PAYLOAD, with_vectors=ALL_VECTORS)
        yield "upsert/NaN", *self._upsert(point(17, dense(math.nan, 0, 0, 0)))
        yield "upsert/Inf", *self._upsert(point(18, dense(math.inf, 0, 0, 0)))
        yield "upsert/zero vector", *self._upsert(point(19, dense(0, 0, 0, 0)))
        odd = 9, 10, 12, 13, 14, 16, 17, 18, 19, 2**64 - 1, UUID_20, "0000000a-0000-4000-8000-00000000abcd"
        yield "delete/clean up odd ones", *self._delete(points=these(*odd))

    def _named_points(self) -> Iterator[tuple[str, str, Any]]:
        both = point(1, named(a=[1, 0], b=[0, 0, 1]), t="x"), point(2, named(a=[0, 1]), t="y")
        yield "upsert/named both", *self._upsert(*both, to=self.named)
        yield "upsert/named wrong dimension", *self._upsert(point(3, named(a=[1, 0, 0])), to=self.named)
        yield "upsert/default vector into named", *self._upsert(point(3, dense(1, 0)), to=self.named)

    def _queries(self) -> Iterator[tuple[str, str, Any]]:
        yield "query/all", *self._query(X)
        yield "query/limit 1", *self._query(X, limit=1)
        yield "query/limit 0", *self._query(X, limit=0)
        yield "query/offset 1", *self._query(X, offset=1)
        yield "query/score threshold", *self._query(X, score_threshold=0.5)
        yield "query/with vectors", *self._query(X, limit=2, with_vectors=ALL_VECTORS)

    def _bad_queries(self) -> Iterator[tuple[str, str, Any]]:
        yield "query/wrong dimension", *self._query([1, 0, 0])
        yield "query/empty vector", *self._query([])
        yield "query/NaN", *self._query([math.nan, 0, 0, 0])
        yield "query/zero vector", *self._query([0, 0, 0, 0])
        yield "query/missing collection", *self._query(X, of=self.missing)
        yield "query/unknown using", *self._query(X, using="zz")
        yield "query/named using a", *self._query([1, 0], of=self.named, using="a")
        yield "query/named without using", *self._query([1, 0], of=self.named)

    def _filters(self) -> Iterator[tuple[str, str, Any]]:
        a = match("user", keyword="a")
        yield "query/filter keyword", *self._where(must(a))
        yield "query/filter must_not", *self._where(q.Filter(must_not=[a]))
        yield "query/filter should two", *self._where(q.Filter(should=[a, between("n", gte=4)]))
        three = [a, between("n", gte=2), between("n", lte=3)]
        at_least_two = q.Filter(min_should=q.MinShould(conditions=three, min_count=2))
        yield "query/filter min_should 2", *self._where(at_least_two)
        yield "query/filter range", *self._where(must(between("n", gt=1, lte=3)))
        any_tag = match("tags", keywords=q.RepeatedStrings(strings=["y", "zz"]))
        yield "query/filter tags any", *self._where(must(any_tag))
        not_a = match("user", except_keywords=q.RepeatedStrings(strings=["a"]))
        yield "query/filter except", *self._where(must(not_a))
        yield "query/filter nested key", *self._where(must(match("nested.k", keyword="v")))
        yield "query/filter bool", *self._where(must(match("ok", boolean=True)))
        yield "query/filter integer", *self._where(must(match("n", integer=2)))
        yield "query/filter text", *self._where(must(match("user", text="a")))

    def _other_filters(self) -> Iterator[tuple[str, str, Any]]:
        yield "query/filter has_id", *self._where(must(has_id(1, UUID_3)))
        yield "query/filter is_null", *self._where(must(q.Condition(is_null=q.IsNullCondition(key="none"))))
        yield "query/filter is_empty", *self._where(must(is_empty("none")))
        two_tags = q.FieldCondition(key="tags", values_count=q.ValuesCount(gte=2))
        yield "query/filter values_count", *self._where(must(q.Condition(field=two_tags)))
        b_or_c = q.Filter(should=[match("user", keyword="b"), match("user", keyword="c")])
        yield "query/filter nested filter", *self._where(must(q.Condition(filter=b_or_c)))

    def _query_forms(self) -> Iterator[tuple[str, str, Any]]:
        def form(**more: Any) -> tuple[str, Any]:
            return "points.Query", q.QueryPoints(collection_name=self.main, **more)

        only = q.WithPayloadSelector(include=q.PayloadIncludeSelector(fields=["user"]))
        yield "query/payload include", *form(query=near(*X), limit=2, with_payload=only)
        without = q.WithPayloadSelector(exclude=q.PayloadExcludeSelector(fields=["user", "tags"]))
        yield "query/payload exclude", *form(query=near(*X), limit=2, with_payload=without)
        yield "query/by id", *form(query=near_id(1), limit=2)
        yield "query/by missing id", *form(query=near_id(999), limit=2)
        yield "query/no query at all", *form(limit=10)
        yield "query batch/two", *self._query_batch(X, [0, 1, 0, 0])
        yield "query batch/one bad", *self._query_batch(X, [0, 1])
        yield "query batch/empty", *self._query_batch()

    def _query_batch(self, *vectors: Sequence[float]) -> tuple[str, Any]:
        each = [q.QueryPoints(collection_name=self.main, query=near(*vector), limit=1) for vector in vectors]
        return "points.QueryBatch", q.QueryBatchPoints(collection_name=self.main, query_points=each)

    def _get(self, *keys: int | str, **more: Any) -> tuple[str, Any]:
        ids = [point_id(key) for key in keys]
        return "points.Get", q.GetPoints(collection_name=self.main, ids=ids, **more)

    def _count(self, of: str, **more: Any) -> tuple[str, Any]:
        return "points.Count", q.CountPoints(collection_name=of, exact=True, **more)

    def _scroll(self, **more: Any) -> tuple[str, Any]:
        return "points.Scroll", q.ScrollPoints(collection_name=self.main, **more)

    def _lookups(self) -> Iterator[tuple[str, str, Any]]:
        yield "get/some missing", *self._get(1, 777, with_payload=ALL_PAYLOAD, with_vectors=ALL_VECTORS)
        yield "get/none", *self._get()
        yield "count/all", *self._count(self.main)
        yield "count/filter", *self._count(self.main, filter=must(match("user", keyword="a")))
        yield "scroll/limit 2", *self._scroll(limit=2, with_payload=ALL_PAYLOAD)
        yield "scroll/limit 0", *self._scroll(limit=0)

    def _set(self, how: str, selector: Any, **payload: Any) -> tuple[str, Any]:
        request = q.SetPayloadPoints(collection_name=self.main, wait=True, payload=payload_to_grpc(payload))
        if selector is not None:
            request.points_selector.CopyFrom(selector)
        return f"points.{how}", request

    def _payload(self) -> Iterator[tuple[str, str, Any]]:
        common = {"collection_name": self.main, "wait": True}
        yield "payload/set", *self._set("SetPayload", these(1, 2), color="red")
        yield "payload/set on missing id", *self._set("SetPayload", these(777), color="red")
        of_a = matching(must(match("user", keyword="a")))
        yield "payload/set by filter", *self._set("SetPayload", of_a, seen=1)
        yield "payload/overwrite", *self._set("OverwritePayload", these(2), only=1)
        keys = q.DeletePayloadPoints(keys=["color"], points_selector=these(1), **common)
        yield "payload/delete keys", "points.DeletePayload", keys
        yield "payload/clear", "points.ClearPayload", q.ClearPayloadPoints(points=these(4), **common)
        yield "payload/no selector", *self._set("SetPayload", None, a=1)
        yield "scroll/after payload operations", *self._scroll(limit=100, with_payload=ALL_PAYLOAD)

    def _conditional(self) -> Iterator[tuple[str, str, Any]]:
        def older_than(version: int) -> Any:
            return q.Filter(should=[is_empty("_version"), between("_version", lt=version)])

        at = dense(*X)
        yield (
            "conditional/new point is inserted whatever the filter",
            *self._upsert(point(30, at, _version=5), update_filter=must(between("_version", lt=1))),
        )
        older = self._upsert(point(30, at, _version=3, old=True), update_filter=older_than(3))
        yield "conditional/older is skipped", *older
        newer = self._upsert(point(30, at, _version=7), update_filter=older_than(7))
        yield "conditional/newer is applied", *newer
        insert = self._upsert(point(30, at, _version=99), update_mode=q.UpdateMode.InsertOnly)
        yield "conditional/insert only on existing", *insert
        update = self._upsert(point(31, at), update_mode=q.UpdateMode.UpdateOnly)
        yield "conditional/update only on missing", *update
        yield "get/after conditional", *self._get(30, 31, with_payload=ALL_PAYLOAD)

    def _delete(self, of: str | None = None, **points: Any) -> tuple[str, Any]:
        return "points.Delete", q.DeletePoints(collection_name=of or self.main, wait=True, **points)

    def _deletes(self) -> Iterator[tuple[str, str, Any]]:
        yield "delete/by id", *self._delete(points=these(30, 778))
        yield "delete/by filter", *self._delete(points=matching(must(match("user", keyword="b"))))
        yield "delete/no selector", *self._delete()
        yield "delete/empty id list", *self._delete(points=these())
        yield "delete/empty filter", *self._delete(of=self.named, points=matching(q.Filter()))
        yield "count/named after empty filter", *self._count(self.named)

    def _ending(self) -> Iterator[tuple[str, str, Any]]:
        common = {"collection_name": self.main, "wait": True}
        keyword = q.CreateFieldIndexCollection(field_name="user", field_type=q.FieldType.FieldTypeKeyword, **common)
        yield "index/create keyword", "points.CreateFieldIndex", keyword
        missing = q.DeleteFieldIndexCollection(field_name="nope", **common)
        yield "index/delete missing", "points.DeleteFieldIndex", missing
        yield "health", "qdrant.HealthCheck", q.HealthCheckRequest()
        yield "collection/get", "collections.Get", q.GetCollectionInfoRequest(collection_name=self.main)
        yield "collection/delete", "collections.Delete", q.DeleteCollection(collection_name=self.main)
        yield "query/after delete", *self._query(X)
