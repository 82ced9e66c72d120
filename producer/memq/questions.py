"""What a producer can ask about points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import TypeAdapter

from memq.answers import CountAnswer, FacetAnswer, GetAnswer, LimitsAnswer, PageAnswer, QueryAnswer
from memq.deliver.calls import read
from memq.deliver.query_packs import PACKED_LIMIT
from memq.encode.requests import RestModel, body, rest_form, wire_ids, wire_vector
from memq_schemas import (
    Count,
    Counted,
    Facet,
    Facets,
    Filter,
    Get,
    Operation,
    Page,
    Query,
    Record,
    ScoredPoint,
    Scroll,
    TenantLimits,
)

if TYPE_CHECKING:
    from memq.parts import ProducerParts

Id: TypeAlias = int | str | UUID
FilterLike: TypeAlias = Filter | Mapping[str, Any] | RestModel

_SCORED = TypeAdapter(list[ScoredPoint])
_RECORDS = TypeAdapter(list[Record])
_COUNTED = TypeAdapter(Counted)
_PAGE = TypeAdapter(Page)
_FACETS = TypeAdapter(Facets)
_LIMITS = TypeAdapter(TenantLimits)


class Questions(ABC):
    """The questions of a Producer; it says where they go."""

    @property
    @abstractmethod
    def _parts(self) -> ProducerParts:
        """The parts of the open producer. Raises MemqError if it is not open."""

    async def query(
        self,
        collection: str,
        vector: Any = None,
        limit: int = 10,
        *,
        offset: int | None = None,
        score_threshold: float | None = None,
        filter: FilterLike | None = None,
        with_payload: bool | Sequence[str] = True,
        with_vector: bool | Literal["base64"] = False,
        using: str | None = None,
        query: Any = None,
        prefetch: Any = None,
        params: Any = None,
        lookup_from: Any = None,
        group_by: str | None = None,
        group_size: int | None = None,
        timeout: float | None = None,
    ) -> QueryAnswer:
        """The points nearest to `vector`, best first, or those of a `query` in Qdrant's REST grammar.

        vector: numbers, rows of them for a multivector, or {"indices", "values"} for a sparse vector.
        using: the vector's name, where the collection has named vectors.
        with_vector: a number that is NaN or infinite comes back as NaN, or exactly as base64; a score as NaN.
        query, prefetch, params, lookup_from: as in Qdrant, as dicts or as models of qdrant_client: recommend, discover,
        context, relevance_feedback, order_by, fusion, rrf, sample, formula, nearest with mmr, and prefetches for
        them.
        group_by: a payload key; `limit` groups of `group_size` hits each, every hit with its `group`.
        Raises RemoteError, ReplyTimeout, Unroutable, InvalidRequest.
        """
        fields = {
            "vector": None if vector is None else wire_vector(vector),
            "query": rest_form(query),
            "prefetch": rest_form(prefetch),
            "params": rest_form(params),
            "lookup_from": rest_form(lookup_from),
            "group_by": group_by,
            "group_size": group_size,
            "limit": limit,
            "offset": offset,
            "score_threshold": score_threshold,
            "filter": filter,
            "with_payload": with_payload,
            "with_vector": with_vector,
            "using": using,
        }
        text = body(Query, fields)
        small = limit <= PACKED_LIMIT and not (with_vector or prefetch or group_by)
        reply = await self._parts.queries.ask(collection, text, timeout, small=small)
        return QueryAnswer(read(_SCORED, reply), reply.elapsed_ms)

    async def get(
        self,
        collection: str,
        ids: Sequence[Id],
        *,
        with_payload: bool | Sequence[str] = True,
        with_vector: bool | Literal["base64"] = False,
        timeout: float | None = None,
    ) -> GetAnswer:
        """Points by id, at most 10,000; ids that do not exist are left out. Raises as `query` does."""
        fields = {"ids": wire_ids(ids), "with_payload": with_payload, "with_vector": with_vector}
        reply = await self._parts.calls.ask(Operation.GET, collection, body(Get, fields), timeout)
        return GetAnswer(read(_RECORDS, reply), reply.elapsed_ms)

    async def scroll(
        self,
        collection: str,
        *,
        limit: int = 100,
        offset: Id | None = None,
        filter: FilterLike | None = None,
        order_by: str | Mapping[str, Any] | RestModel | None = None,
        with_payload: bool | Sequence[str] = True,
        with_vector: bool | Literal["base64"] = False,
        timeout: float | None = None,
    ) -> PageAnswer:
        """A page of the points by id, or in the order of an indexed payload key. Raises as `query` does.

        offset: `next` of the page before.   order_by: a key, or {"key", "direction", "start_from"}.
        A page may have fewer points than `limit`, where its reply would be too large; only `next` None is the end.
        """
        fields = {
            "limit": limit,
            "offset": None if offset is None else wire_ids([offset])[0],
            "filter": filter,
            "order_by": {"key": order_by} if isinstance(order_by, str) else order_by,
            "with_payload": with_payload,
            "with_vector": with_vector,
        }
        reply = await self._parts.calls.ask(Operation.SCROLL, collection, body(Scroll, fields), timeout)
        page = read(_PAGE, reply)
        return PageAnswer(page.points, page.next, reply.elapsed_ms)

    async def facet(
        self,
        collection: str,
        key: str,
        *,
        limit: int = 10,
        exact: bool = False,
        filter: FilterLike | None = None,
        timeout: float | None = None,
    ) -> FacetAnswer:
        """The values of an indexed payload key with their numbers of points, most frequent first. Raises as `query`."""
        fields = {"key": key, "limit": limit, "exact": exact, "filter": filter}
        reply = await self._parts.calls.ask(Operation.FACET, collection, body(Facet, fields), timeout)
        return FacetAnswer(read(_FACETS, reply).values, reply.elapsed_ms)

    async def count(
        self, collection: str, *, filter: FilterLike | None = None, exact: bool = True, timeout: float | None = None
    ) -> CountAnswer:
        """Count the points, or those that the filter selects. Raises as `query` does.

        exact: False for an estimate, which takes less time.
        """
        fields = {"filter": filter, "exact": None if exact else False}
        reply = await self._parts.calls.ask(Operation.COUNT, collection, body(Count, fields), timeout)
        return CountAnswer(read(_COUNTED, reply).count, reply.elapsed_ms)

    async def limits(self, *, timeout: float | None = None) -> LimitsAnswer:
        """Return the limits of the producer's tenant, and which of them hold it back now. Raises as `query` does."""
        reply = await self._parts.calls.ask(Operation.LIMITS, None, b"{}", timeout)
        return LimitsAnswer(read(_LIMITS, reply).limits, reply.elapsed_ms)
