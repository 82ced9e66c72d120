"""The final state of a run: every point in the store, every dead letter, every queue. Read once, after the drain."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import aio_pika
import grpc
import orjson
from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import grpc_to_payload
from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc

from memq_schemas import headers, topology
from stack.amqp import management
from tests.chaos.ledger import COLLECTION, IDENTITY
from tests.support.strange import letters, own

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memq_schemas.properties import Properties
    from tests.support.broker import Address

_PAGE = 1000
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stored:
    payload: dict[str, Any]
    vector: list[float]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """name: of the ledger's message, None when nothing in it says.   code: the worker's reason, or the broker's.

    envelope: digest of what its sender wrote in its properties.
    """

    name: str | None
    code: str | None
    by_worker: bool
    body: bytes
    fields: dict[str, Any]
    envelope: str = ""


@dataclass
class Evidence:
    points: dict[int | str, Stored] = field(default_factory=dict)
    collections: set[str] = field(default_factory=set)
    dead: list[DeadLetter] = field(default_factory=list)
    ready: dict[str, int] = field(default_factory=dict)
    consumers: dict[str, int] = field(default_factory=dict)
    strange_queues: set[str] = field(default_factory=set)
    strange_exchanges: set[str] = field(default_factory=set)
    exits: list[int] = field(default_factory=list)  # of the workers stopped at the end
    drained: bool = True
    log: str = ""  # of all workers
    openings: list[float] = field(default_factory=list)  # when connections and channels were opened


async def scan(store: str, key: str = "", collection: str = COLLECTION) -> tuple[dict[int | str, Stored], set[str]]:
    """Every point of one collection, and the names of all collections, as a gRPC client of `store` sees them."""
    found: dict[int | str, Stored] = {}
    options = [("grpc.max_receive_message_length", -1)]
    call: dict[str, Any] = {"timeout": _SECONDS, "metadata": (("api-key", key),) if key else ()}
    async with grpc.aio.insecure_channel(store.removeprefix("http://"), options=options) as channel:
        points: Any = points_service_pb2_grpc.PointsStub(channel)
        about: Any = collections_service_pb2_grpc.CollectionsStub(channel)
        names = {each.name for each in (await about.List(q.ListCollectionsRequest(), **call)).collections}
        request: Any = q.ScrollPoints(
            collection_name=collection,
            limit=_PAGE,
            with_payload=q.WithPayloadSelector(enable=True),
            with_vectors=q.WithVectorsSelector(enable=True),
        )
        while collection in names:
            page = await points.Scroll(request, **call)
            for each in page.result:
                identifier = each.id.uuid or each.id.num
                assert identifier not in found, f"the scan has point {identifier} twice"
                vector = each.vectors.vector
                numbers = list(vector.dense.data or vector.data)
                found[identifier] = Stored(grpc_to_payload(each.payload), numbers)
            if not page.HasField("next_page_offset"):
                break
            request.offset.CopyFrom(page.next_page_offset)
    return found, names


async def count(store: str) -> int:
    async with grpc.aio.insecure_channel(store.removeprefix("http://")) as channel:
        points: Any = points_service_pb2_grpc.PointsStub(channel)
        reply = await points.Count(q.CountPoints(collection_name=COLLECTION, exact=True), timeout=_SECONDS)
        return int(reply.result.count)


async def depths(address: Address, tenants: Sequence[str] = ()) -> tuple[dict[str, int], dict[str, int]]:
    """Messages ready and consumers, by queue: the operator's and `tenants`. Unsettled deliveries are not among them."""
    ready: dict[str, int] = {}
    consumers: dict[str, int] = {}
    async with await aio_pika.connect(address.url, timeout=_SECONDS) as connection:
        channel = await connection.channel()
        for queue in (*(each.name for each in topology(address.prefix).queues), *tenants):
            declared = (await channel.declare_queue(queue, passive=True, timeout=_SECONDS)).declaration_result
            ready[queue] = declared.message_count or 0
            consumers[queue] = declared.consumer_count or 0
    return ready, consumers


async def dead_letters(address: Address) -> list[DeadLetter]:
    """Left where they are. No client library but ours reads every property that AMQP can carry."""
    return [_dead_letter(properties, body) for properties, body in await letters(address)]


def _dead_letter(properties: Properties, body: bytes) -> DeadLetter:
    fields = dict(properties.headers)
    code = fields.get(headers.ERROR_CODE)
    reason = code if code is not None else fields.get("x-first-death-reason")
    name = fields.get(IDENTITY) or _name_in(body)
    return DeadLetter(
        str(name) if name else None,
        str(reason) if reason else None,
        code is not None,
        body,
        fields,
        envelope_digest(properties),
    )


def envelope_digest(properties: Properties) -> str:
    """Return the part that the sender wrote, without the additions of workers and broker."""
    return hashlib.blake2b(repr(own(properties)).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _name_in(body: bytes) -> str | None:
    try:
        payload = orjson.loads(body)["points"][0]["payload"]
        return f"{payload['run']}/{payload['producer']}/{payload['seq']}"
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return None


def strangers(address: Address, known: set[str]) -> tuple[set[str], set[str]]:
    """Queues and exchanges of the virtual host that are neither memq's, nor RabbitMQ's, nor `known`."""
    if address.management_url is None:
        return set(), set()
    parts = urlsplit(address.url)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    place = f"{address.management_url}/api"
    layout = topology(address.prefix)
    found: list[set[str]] = []
    for kind, ours in (("queues", layout.queues), ("exchanges", layout.exchanges)):
        listed = management("GET", f"{place}/{kind}/{quote(address.vhost, safe='')}", user, password)
        # An exclusive queue is its connection's own, and goes with it.
        names = {entry["name"] for entry in listed if not entry.get("exclusive")}
        mine = {each.name for each in ours} | known
        found.append({name for name in names - mine if name and not name.startswith("amq.")})
    return found[0], found[1]
