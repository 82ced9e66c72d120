import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from memq_schemas import (
    Count,
    CreateCollection,
    CreateIndex,
    Delete,
    DeleteIndex,
    ErrorCode,
    Facet,
    Get,
    NameAlias,
    Operation,
    Queries,
    Query,
    Scroll,
    UpdateCollection,
)
from memq_worker.errors import DependencyError, MessageError, Outage, WorkerError
from memq_worker.pipeline import lines
from memq_worker.pipeline.command import Request
from memq_worker.pipeline.contracts import Contracts, check_vector
from memq_worker.pipeline.decode.vectors import cell_of
from memq_worker.pipeline.hold import Hold
from memq_worker.pipeline.limits.report import LimitReport
from memq_worker.pipeline.outcome import Done, Expire, Outcome, Refuse
from memq_worker.pipeline.ports import Tracing
from memq_worker.pipeline.settle import Settler, refusal
from memq_worker.pipeline.spaces.spaces import Spaces
from memq_worker.pipeline.store import Store

logger = logging.getLogger(__name__)

_MARGIN_SECONDS = 0.5  # of the sender's time, for the answer to reach him
_PATIENCE_SECONDS = 1.0  # a store that is silent for longer hangs
_WHOLE = 0.95  # of the timeout: it was ours that ran out, and not one of the store's own


class Answerer:
    """Answers requests. Each gets a result or an error before its deadline; none is retried or dead-lettered."""

    def __init__(
        self,
        store: Store,
        settler: Settler,
        hold: Hold,
        contracts: Contracts,
        timeout_seconds: float,
        tracing: Tracing | None,
        spaces: Spaces,
        limits: LimitReport,
    ) -> None:
        self._store = store
        self._settler = settler
        self._hold = hold
        self._contracts = contracts
        self._timeout_seconds = timeout_seconds
        self._tracing = tracing
        self._spaces = spaces
        self._limits = limits

    async def answer(self, request: Request) -> None:
        if self._tracing is None:
            await self._answer(request)
        else:
            with self._tracing.request(request.delivery):
                await self._answer(request)

    async def _answer(self, request: Request) -> None:
        delivery = request.delivery
        delivery.times.began = time.perf_counter()
        body = request.body
        outcome = await (self._together(request, body) if isinstance(body, Queries) else self._outcome(request))
        delivery.times.stored = time.perf_counter()
        elapsed_ms = delivery.times.elapsed_ms
        await self._settler.settle(delivery, outcome)
        # Who asked need not wait for it.
        if isinstance(outcome, Done):
            lines.request_answered(request, elapsed_ms)

    async def _together(self, request: Request, body: Queries) -> Outcome:
        """Answer each query by itself. All of them together may be as large as one reply."""
        tenant, share = request.delivery.tenant, len(body.queries)

        def one(query: Query) -> Awaitable[Outcome]:
            return self._outcome(Request(request.delivery, Operation.QUERY, request.collection, query, share))

        if tenant is None:
            outcomes = await self._outcomes(request, body.queries, one)
        else:
            # One after the other: the message has the turn of one request at the store.
            outcomes = [self._spaces.retold(tenant, await one(each)) for each in body.queries]
        if any(isinstance(each, Expire) for each in outcomes):
            return Expire()
        return Done("answered", list(map(_result, outcomes)))

    async def _outcomes(
        self, request: Request, queries: list[Query], one: Callable[[Query], Awaitable[Outcome]]
    ) -> list[Outcome]:
        """Ask the queries in one call, except those that group their hits: Qdrant takes these one by one."""
        groups = [each for each in queries if each.group_by is not None]
        plain = [each for each in queries if each.group_by is None] if groups else queries
        whole = self._within(request, partial(self._ask_all, request, plain, len(queries)))
        if not groups:
            return _each(await whole, len(plain))
        together, *alone = await asyncio.gather(whole, *map(one, groups))
        answers, others = iter(_each(together, len(plain))), iter(alone)
        return [next(answers if each.group_by is None else others) for each in queries]

    async def _ask_all(self, request: Request, queries: list[Query], share: int, timeout: float) -> list[Outcome]:
        """Return the outcome of each query. Raises what concerns them all."""
        collection = request.collection or ""
        refused: dict[int, WorkerError] = {}
        for at, query in enumerate(queries):
            try:
                if query.vector is not None:
                    await self._check_query(collection, query, query.vector)
            except MessageError as error:
                refused[at] = error
        asked = [query for at, query in enumerate(queries) if at not in refused] if refused else queries
        answers = iter(await self._store.queries(collection, asked, timeout, share) if asked else ())
        return [self._told(request, refused.get(at) or next(answers)) for at in range(len(queries))]

    def _told(self, request: Request, answer: list[dict[str, Any]] | WorkerError) -> Outcome:
        return Refuse(self._failure(request, answer)) if isinstance(answer, WorkerError) else Done("answered", answer)

    async def _outcome(self, request: Request) -> Outcome:
        return await self._within(request, partial(self._ask, request))

    async def _within(self, request: Request, ask: Callable[[float], Awaitable[Any]]) -> Outcome:
        left = request.delivery.time_left
        if left is not None and left <= 0:
            return Expire()
        held = self._hold.error
        if held is not None and held.away and request.operation is not Operation.LIMITS:
            # A writer keeps probing the store; asking it here as well would only make the caller wait for a timeout.
            return Refuse(_try_later(held, self._hold.most_seconds))
        # The answer has to be on its way before the deadline, also one that says that the store hangs.
        timeout = self._timeout_seconds if left is None else min(left - _margin(left), self._timeout_seconds)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(timeout):
                return Done("answered", await ask(timeout))
        except TimeoutError:
            return Refuse(self._hangs(timeout))
        except WorkerError as error:
            if error.code is ErrorCode.DEADLINE_EXCEEDED and time.perf_counter() - started >= timeout * _WHOLE:
                error = self._hangs(timeout)
            return Refuse(self._failure(request, error))
        except Exception as error:
            logger.exception("unexpected error in a request", extra={"op": request.operation.value})
            return Refuse(
                DependencyError(
                    ErrorCode.UNEXPECTED, f"unexpected {type(error).__name__} in the worker", stage="answer"
                )
            )

    def _failure(self, request: Request, error: WorkerError) -> WorkerError:
        if isinstance(error, Outage):
            return _try_later(error, self._hold.most_seconds)
        if error.code is ErrorCode.UNKNOWN_COLLECTION and request.collection:
            self._contracts.forget(request.collection)
        return error

    def _hangs(self, seconds: float) -> WorkerError:
        if seconds < _PATIENCE_SECONDS:
            # So little time says nothing about the store.
            return DependencyError(
                ErrorCode.DEADLINE_EXCEEDED, "no answer from Qdrant before the deadline", stage="answer"
            )
        return Outage(
            ErrorCode.STORE_UNAVAILABLE,
            f"no answer from Qdrant within {seconds:.1f} s",
            stage="answer",
            retry_after_seconds=self._hold.most_seconds,
        )

    async def _ask(self, request: Request, timeout: float) -> Any:
        tenant = request.delivery.tenant
        if request.operation is Operation.LIMITS:
            return await self._limits.of(request.delivery)
        ask = partial(self._ask_store, timeout=timeout, share=request.share)
        if tenant is None:
            return await ask(request.operation, request.collection or "", request.body)
        return await self._spaces.of(tenant).answer(request, ask)

    async def _ask_store(  # noqa: PLR0911  (one for each kind of body)
        self, operation: Operation, collection: str, body: Any, timeout: float, share: int
    ) -> Any:
        store = self._store
        match body:
            case Query():
                if body.vector is not None:
                    await self._check_query(collection, body, body.vector)
                return await store.query(collection, body, timeout, share)
            case Get():
                return await store.get(collection, body, timeout)
            case Count(exact=True):
                return {"count": await store.count(collection, body.filter, timeout)}
            case Count() | Scroll() | Facet() | CreateIndex() | DeleteIndex() | UpdateCollection():
                return await store.request(operation, collection, body, timeout)
            case NameAlias():
                self._contracts.forget(body.alias)
                return await store.request(operation, collection, body, timeout)
            case CreateCollection():
                self._contracts.forget(collection)
                return {"created": await store.create_collection(collection, body, timeout)}
            case Delete():
                return await store.delete(collection, body.ids, body.filter)
            case _:
                return await self._about_collections(operation, collection, timeout)

    async def _about_collections(self, operation: Operation, collection: str, timeout: float) -> Any:
        if operation is Operation.LIST:
            return {"collections": await self._store.list_collections(timeout)}
        if operation is Operation.ALIASES:
            return await self._store.request(operation, collection, None, timeout)
        if operation is Operation.DESCRIBE:
            return await self._store.describe_collection(collection, timeout)
        self._contracts.forget(collection)
        return {"deleted": await self._store.drop_collection(collection, timeout)}

    async def _check_query(self, collection: str, query: Query, vector: Any) -> None:
        cell = cell_of(vector)
        using = query.using or ""
        try:
            check_vector(await self._contracts.get(collection), collection, using, cell)
        except MessageError:
            check_vector(await self._contracts.get(collection, max_age_seconds=1.0), collection, using, cell)


# The outcomes of several queries, of which a refusal may be the refusal of each.
def _each(whole: Outcome, number: int) -> list[Outcome]:
    return whole.result if isinstance(whole, Done) else [whole] * number


def _result(outcome: Outcome) -> dict[str, Any]:
    """One of several answers, in its JSON form."""
    if isinstance(outcome, Refuse):
        return refusal(outcome.error, 0.0).model_dump(exclude_none=True, exclude={"elapsed_ms"})
    assert isinstance(outcome, Done)
    return {"status": 200, "result": outcome.result}


def _margin(left: float) -> float:
    return min(_MARGIN_SECONDS, left / 5)


def _try_later(error: Outage, seconds: float) -> Outage:
    asked = error.retry_after_seconds
    later = Outage(error.code, error.message, stage="answer", retry_after_seconds=asked or seconds)
    later.__cause__ = error.__cause__
    return later
