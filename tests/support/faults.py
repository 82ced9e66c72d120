"""A gRPC proxy in front of a real store that fails as told: codes, details, metadata, delays, altered answers."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@dataclass(frozen=True, slots=True)
class Fault:
    """What a call meets instead of the store, or `after` the store has done it. `status` None lets it through.

    instead: an answer, without the store having been asked.   until: the call waits for it before anything else.
    seconds: the call waits so long first.
    """

    status: grpc.StatusCode | None = None
    details: str = "injected"
    metadata: tuple[tuple[str, str], ...] = ()
    after: bool = False
    alter: Callable[[bytes], bytes] | None = None
    instead: bytes | None = None
    until: asyncio.Event | None = None
    seconds: float = 0.0
    only: Callable[[bytes], bool] = lambda _: True


@dataclass
class FaultyStore:
    """Faults are used up in order, one a call of their method; `calls` are the methods that came, in order.

    left: for each call, how many seconds its caller gave it; None for no limit.
    """

    url: str
    calls: list[str] = field(default_factory=list)
    left: list[float | None] = field(default_factory=list)
    _faults: dict[str, deque[Fault]] = field(default_factory=dict)
    _lasting: dict[str, Fault] = field(default_factory=dict)

    def fail(self, method: str, *faults: Fault) -> None:
        self._faults.setdefault(method, deque()).extend(faults)

    def waiting(self, method: str) -> int:
        """Faults that no call has met yet."""
        return len(self._faults.get(method, ()))

    def fail_always(self, method: str, fault: Fault | None) -> None:
        if fault is None:
            self._lasting.pop(method, None)
        else:
            self._lasting[method] = fault

    def next_fault(self, method: str, request: bytes) -> Fault | None:
        waiting = self._faults.get(method)
        if waiting and waiting[0].only(request):
            return waiting.popleft()
        lasting = self._lasting.get(method)
        return lasting if lasting is not None and lasting.only(request) else None


class _Proxy(grpc.GenericRpcHandler):
    def __init__(self, store: FaultyStore, channel: grpc.aio.Channel) -> None:
        self._store = store
        self._channel = channel

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path: str = handler_call_details.method  # type: ignore[attr-defined]
        method = path.rpartition("/")[2]

        async def call(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            self._store.calls.append(method)
            self._store.left.append(context.time_remaining())
            fault = self._store.next_fault(method, request)
            if fault is not None and fault.seconds:
                await asyncio.sleep(fault.seconds)
            if fault is not None and fault.until is not None:
                await fault.until.wait()
            if fault is not None and fault.status is not None and not fault.after:
                await context.abort(fault.status, fault.details, fault.metadata)
            if fault is not None and fault.instead is not None:
                return fault.instead
            try:
                answer: bytes = await self._channel.unary_unary(path)(request, timeout=context.time_remaining())
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            if fault is not None and fault.status is not None:
                await context.abort(fault.status, fault.details, fault.metadata)
            return fault.alter(answer) if fault is not None and fault.alter is not None else answer

        return grpc.unary_unary_rpc_method_handler(call)


@asynccontextmanager
async def faulty_store(url: str) -> AsyncIterator[FaultyStore]:
    """In front of the store at `url`, on a free loopback port."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    port = server.add_insecure_port("127.0.0.1:0")
    store = FaultyStore(f"http://127.0.0.1:{port}")
    async with grpc.aio.insecure_channel(url.removeprefix("http://")) as channel:
        server.add_generic_rpc_handlers((_Proxy(store, channel),))
        await server.start()
        try:
            yield store
        finally:
            await asyncio.shield(server.stop(None))
