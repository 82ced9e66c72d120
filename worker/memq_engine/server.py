"""The gRPC surface: which methods are served, how a refusal travels, and one loop that does one thing at a time.

The engine holds the GIL through every call, so threads would add switching and no work done side by side. Small
requests pass large ones that wait.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from . import aliases, collections, reads, writes
from .engine import Engine
from .groups import query_groups
from .proto import UpsertView, messages
from .refusal import Refused, StatusCode, invalid, invalid_field

log = logging.getLogger(__name__)

_unary: Any = grpc.unary_unary_rpc_method_handler
_streams: Any = grpc.stream_stream_rpc_method_handler


@dataclass(frozen=True)
class _Method:
    request: Any
    answer: Callable[[Engine, Any], Any]
    writes: bool = False


def _health(engine: Engine, _request: Any) -> Any:
    engine.check_health()
    return messages.HealthCheckReply(title="qdrant - vector search engine", version=version("qdrant-edge-py"))


_HEALTH = "/qdrant.Qdrant/HealthCheck"
# Metadata key: in the trailers of HealthCheck the engine's identity, in a request the identity that the client expects.
IDENTITY_KEY = "memq-store"

_METHODS: dict[str, _Method] = {
    _HEALTH: _Method(messages.HealthCheckRequest, _health),
    "/qdrant.Collections/Create": _Method(messages.CreateCollection, collections.create, writes=True),
    "/qdrant.Collections/Delete": _Method(messages.DeleteCollection, collections.delete),
    "/qdrant.Collections/Get": _Method(messages.GetCollectionInfoRequest, collections.describe),
    "/qdrant.Collections/List": _Method(messages.ListCollectionsRequest, collections.names),
    "/qdrant.Collections/CollectionExists": _Method(messages.CollectionExistsRequest, collections.exists),
    "/qdrant.Collections/Update": _Method(messages.UpdateCollection, collections.update, writes=True),
    "/qdrant.Collections/UpdateAliases": _Method(messages.ChangeAliases, aliases.update_aliases, writes=True),
    "/qdrant.Collections/ListAliases": _Method(messages.ListAliasesRequest, aliases.all_aliases),
    "/qdrant.Collections/ListCollectionAliases": _Method(messages.ListCollectionAliasesRequest, aliases.aliases_of),
    "/qdrant.Points/UpdateBatch": _Method(messages.UpdateBatchPoints, writes.update_batch, writes=True),
    "/qdrant.Points/Query": _Method(messages.QueryPoints, reads.query),
    "/qdrant.Points/QueryBatch": _Method(messages.QueryBatchPoints, reads.query_batch),
    "/qdrant.Points/QueryGroups": _Method(messages.QueryPointGroups, query_groups),
    "/qdrant.Points/Facet": _Method(messages.FacetCounts, reads.facet),
    "/qdrant.Points/Get": _Method(messages.GetPoints, reads.get),
    "/qdrant.Points/Count": _Method(messages.CountPoints, reads.count),
    "/qdrant.Points/Scroll": _Method(messages.ScrollPoints, reads.scroll),
} | {
    f"/qdrant.Points/{name}": _Method(request, writes.single(write), writes=True)
    for name, request, write in (
        ("Upsert", UpsertView, writes.upsert),
        ("Delete", messages.DeletePoints, writes.delete),
        ("SetPayload", messages.SetPayloadPoints, writes.set_payload),
        ("OverwritePayload", messages.SetPayloadPoints, writes.overwrite_payload),
        ("DeletePayload", messages.DeletePayloadPoints, writes.delete_payload),
        ("ClearPayload", messages.ClearPayloadPoints, writes.clear_payload),
        ("UpdateVectors", messages.UpdatePointVectors, writes.update_vectors),
        ("DeleteVectors", messages.DeletePointVectors, writes.delete_vectors),
        ("CreateFieldIndex", messages.CreateFieldIndexCollection, writes.create_field_index),
        ("DeleteFieldIndex", messages.DeleteFieldIndexCollection, writes.delete_field_index),
    )
}

# HealthCheckResponse{status: SERVING}; the package with its generated class is not worth a dependency.
_SERVING = b"\x08\x01"
# Requests of this size or more wait for each other and for flushes, so that smaller ones wait for one of them at most.
_LARGE_BYTES = 64 * 1024
# What a write costs on disk, WAL and segment together, against the bytes of its request.
_WRITE_AMPLIFICATION = 4


def _check_read(request: Any) -> None:
    fields = request.DESCRIPTOR.fields_by_name
    if "read_consistency" not in fields:
        return
    if request.HasField("timeout") and request.timeout == 0:
        raise invalid_field("timeout", "value 0 invalid, must be 1 or larger")
    if request.read_consistency.WhichOneof("value") == "factor" and request.read_consistency.factor == 0:
        raise invalid('factor: Validation error: range [{"min": Number(1), "value": Number(0)}]')


def _answer(engine: Engine, path: str, body: bytes) -> bytes:
    started = time.perf_counter()
    method = _METHODS[path]
    try:
        request = method.request.FromString(body)
    except DecodeError as error:
        raise Refused(StatusCode.INTERNAL, "failed to decode Protobuf message") from error
    if method.writes:
        engine.check_disk(_WRITE_AMPLIFICATION * len(body))
    else:
        _check_read(request)
    reply: Message = method.answer(engine, request)
    if path != _HEALTH:
        reply.time = time.perf_counter() - started  # pyright: ignore[reportAttributeAccessIssue]
    return reply.SerializeToString()


class _Surface(grpc.GenericRpcHandler):
    """Looks methods up by path, and hands their bodies over as bytes."""

    def __init__(self, engine: Engine) -> None:
        self.stopping = False
        self._engine = engine
        self._served: dict[str, Any] = {path: _unary(self._serve(path)) for path in _METHODS}
        self._served["/grpc.health.v1.Health/Check"] = _unary(_serving)

    def service(self, handler_call_details: Any) -> Any:
        path = handler_call_details.method
        found = self._served.get(path)
        # Streaming on both sides fits any call, so the refusal reaches a caller of whatever kind.
        return _streams(_unserved(path)) if found is None else found

    def _answered(self, path: str, body: bytes) -> bytes:
        if self.stopping:
            raise Refused(StatusCode.UNAVAILABLE, "memq's embedded engine is stopping")
        return _answer(self._engine, path, body)

    def _serve(self, path: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def serve(body: bytes, context: Any) -> bytes:
            try:
                for key, value in context.invocation_metadata():
                    if key == IDENTITY_KEY:
                        self._engine.check_identity(value)
                if path == _HEALTH:
                    context.set_trailing_metadata(((IDENTITY_KEY, self._engine.identity),))
                if len(body) < _LARGE_BYTES:
                    return self._answered(path, body)
                async with self._engine.large:
                    await asyncio.sleep(0)  # small requests that have arrived go first
                    return self._answered(path, body)
            except Refused as refused:
                await context.abort(refused.code, refused.details)
            except Exception:
                log.exception("request failed", extra={"method": path})
                await context.abort(StatusCode.INTERNAL, "Service internal error: unexpected failure, see the log")
            raise AssertionError("abort returned")

        return serve


async def _serving(_body: bytes, _context: Any) -> bytes:
    return _SERVING


def _unserved(path: str) -> Callable[[Any, Any], Awaitable[None]]:
    async def refuse(_bodies: Any, context: Any) -> None:
        await context.abort(
            StatusCode.UNIMPLEMENTED,
            f"{path}: not served by memq's embedded engine; a Qdrant server (MEMQ_QDRANT_URL) serves it",
        )

    return refuse


_LAST_CALLS_SECONDS = 0.25
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Otherwise a second engine could listen on the same port, and take half of the requests.
    ("grpc.so_reuseport", 0),
    # A Qdrant server takes keepalive pings as they come; the default would cut clients off for them.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
)


class AddressError(Exception):
    pass


class Server:
    """Bound when it exists, answering once started. Raises AddressError."""

    def __init__(self, engine: Engine, listen: str) -> None:
        self._surface = _Surface(engine)
        self._server: Any = grpc.aio.server(handlers=(self._surface,), options=_OPTIONS)  # pyright: ignore
        try:
            port: int = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise AddressError(
                f"MEMQ_EMBEDDED_LISTEN: cannot listen on {listen}; choose another address, or share the store there "
                f"with MEMQ_QDRANT_URL=http://{listen}"
            ) from error
        self.address = f"{listen.rpartition(':')[0]}:{port}"

    async def start(self) -> None:
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        self._surface.stopping = True
        # gRPC cancels what it has read but not yet handed over, and CANCELLED tells a client nothing. Those requests
        # are handed over, and refused with UNAVAILABLE, in this time.
        await asyncio.sleep(_LAST_CALLS_SECONDS)
        await self._server.stop(grace_seconds)
