"""Exchanges and queues of tenants, and whose a message is by the exchange that it came through.

Nothing of this exists without tenants. A tenant may write to its own exchanges alone, so the broker decides whose a
message is; no key, body or header of a client has a say. Tenants' messages have queues of their own: a worker that
knows no tenants, or an older release, never takes them for the operator's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from memq_schemas import headers
from memq_schemas.routing import READS
from memq_schemas.topology import (
    REQUEST_TTL_MS,
    REQUEST_WORDS,
    WRITE_WORDS,
    Binding,
    Exchange,
    Names,
    Order,
    Queue,
    Topology,
    lane_binding,
    write_queue,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

TENANT_NAME = r"[a-z0-9-]{1,63}"

# Lanes of the tenants without one of their own. No tenant's lane is named so: those begin with "t.".
SHARED = "tenants"
SHARED_BULK = "tenants.bulk"


@dataclass(frozen=True, slots=True)
class TenantNames:
    """Names of one tenant. What a client needs is named as in Names.

    commands, bulk, read: exchanges for all operations, for writes that must not delay live ones, and for requests that
    change nothing.   replies: exchange through which answers come.
    """

    prefix: str
    tenant: str
    commands: str = field(init=False)
    bulk: str = field(init=False)
    read: str = field(init=False)
    replies: str = field(init=False)

    def __post_init__(self) -> None:
        """Raise ValueError for a name that no tenant has."""
        if not re.fullmatch(TENANT_NAME, self.tenant):
            raise ValueError("tenant: expected 1 to 63 characters out of a-z, 0-9 and -")
        commands = f"{self.prefix}.t.{self.tenant}"
        object.__setattr__(self, "commands", commands)
        object.__setattr__(self, "bulk", f"{commands}.bulk")
        object.__setattr__(self, "read", f"{commands}.read")
        object.__setattr__(self, "replies", f"{self.prefix}.r.{self.tenant}")

    @property
    def exchanges(self) -> tuple[str, ...]:
        return self.commands, self.bulk, self.read, self.replies

    @property
    def lanes(self) -> dict[str, str]:
        """The queues of the tenant's own lanes, by lane: live, then bulk."""
        queue = f"{self.prefix}.lane.{self.tenant}"
        return {f"t.{self.tenant}": queue, f"t.{self.tenant}.bulk": f"{queue}.bulk"}

    def reply(self, token: str) -> str:
        """Name of a reply queue. All that the tenant may declare are named so."""
        return f"{self.prefix}.reply.{self.tenant}.{token}"


class Whose:
    """Tells whose a message is: the name of a tenant, or None for the operator.

    An empty name is nobody's: no worker wrote it, and no tenant is named so.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self._exchanges = f"{names.prefix}.t."
        self._lanes = f"{names.prefix}.lane."
        self._queues = (self._lanes, f"{names.tenants}.")
        # Only workers may write to these exchanges, and they remove a client's own header.
        self._carrying = (names.internal, f"{names.prefix}.retry.", names.suspect, names.dead)

    def sent(self, exchange: str, given: Mapping[str, Any]) -> str | None:
        """Whose a message with these headers is that a queue of memq's has received through `exchange`."""
        tenant = _owner(self._exchanges, exchange)
        if tenant is None and exchange.startswith(self._carrying):
            return _tenant(given.get(headers.TENANT))
        return tenant

    def received(self, queue: str, exchange: str, given: Mapping[str, Any]) -> str | None:
        """Whose a message is that one of memq's queues has received through `exchange`.

        A tenant may lead an exchange of its own making to memq's exchange for it, and RabbitMQ names the first exchange
        of the way. So nothing in a queue of tenants is the operator's.
        """
        tenant = self.sent(exchange, given)
        if tenant is None and queue.startswith(self._queues):
            return _owner(self._lanes, queue) or ""
        return tenant

    def dead(self, given: Mapping[str, Any]) -> str | None:
        """Whose a dead letter of these headers is.

        One that the broker has moved itself is that of the lane that it was in, or of the exchange that it was
        published to: both are in the newest entry of `x-death`. Copies that workers publish have no such entry.
        """
        if (newest := _newest_death(given)) is None:
            return _tenant(given.get(headers.TENANT))
        exchange, queue = newest.get("exchange"), newest.get("queue")
        if isinstance(queue, str) and (owner := _owner(self._lanes, queue)) is not None:
            return owner
        if not isinstance(exchange, str):
            return ""
        return self.received(queue if isinstance(queue, str) else "", exchange, given)

    def forgeable(self, given: Mapping[str, Any]) -> bool:
        """Return True if a client of RabbitMQ before 4.0 may have chosen whose the dead letter with these headers is.

        Those brokers keep the exchange of an entry of `x-death` that the client has sent, when its queue and reason are
        the real ones. Of the lane that tenants share, the queue does not say whose the message is.
        """
        newest = _newest_death(given)
        return newest is not None and newest.get("queue") in (self.names.tenants_write, self.names.tenants_write_bulk)


def _newest_death(given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    deaths = given.get("x-death")
    if not isinstance(deaths, list) or not deaths:
        return None
    newest: Any = cast("list[Any]", deaths)[0]
    return cast("Mapping[str, Any]", newest) if isinstance(newest, dict) else {}


@lru_cache(maxsize=4096)
def _owner(beginning: str, name: str) -> str | None:
    """The tenant after whom an exchange or a lane is named, None for other names."""
    if not name.startswith(beginning):
        return None
    tenant = name.removeprefix(beginning).partition(".")[0]
    return tenant if re.fullmatch(TENANT_NAME, tenant) else ""


def _tenant(value: object) -> str | None:
    """The tenant of a header; "" for what no worker writes, which is nobody's."""
    if value is None:
        return None
    return value if isinstance(value, str) and re.fullmatch(TENANT_NAME, value) else ""


def lane_owner(lane: str) -> str | None:
    """The tenant whose own lane this is; None for the lanes of the operator, and for those that tenants share."""
    return lane.split(".")[1] if lane.startswith("t.") else None


def shared_topology(prefix: str, order: Order = "relaxed") -> Topology:
    """Queues that all tenants have in common: the lanes of those without their own, requests, and the generation."""
    names = Names(prefix)
    single = {"x_single_active_consumer": True} if order == "strict" else {}
    lanes = shared_lanes(names, order)
    queues = (
        *(write_queue(queue, names, **single) for queue in dict.fromkeys(lanes.values())),
        Queue(names.tenants_query, {"x-queue-type": "classic", "x-message-ttl": REQUEST_TTL_MS}),
        # One message: the generation of the tenants file that was applied last.
        Queue(names.tenants, {"x-queue-type": "classic", "x-max-length": 1}),
    )
    return Topology(names, (), queues, tuple(lane_binding(names, lane, queue) for lane, queue in lanes.items()))


def shared_lanes(names: Names, order: Order = "relaxed") -> dict[str, str]:
    """The queues of the shared lanes, by lane."""
    live = names.tenants_write
    return {SHARED: live, SHARED_BULK: live if order == "strict" else names.tenants_write_bulk}


def own_lanes(names: TenantNames, order: Order = "relaxed") -> dict[str, str]:
    """The queues of a tenant's own lanes, by lane."""
    (live, queue), (bulk, bulk_queue) = names.lanes.items()
    return {live: queue, bulk: queue if order == "strict" else bulk_queue}


def tenant_topology(prefix: str, tenant: str, *, own_lane: bool, order: Order = "relaxed") -> Topology:
    """Exchanges, queues and bindings of one tenant, beside the shared ones.

    Its lanes are bound to the internal exchange in any case: a retried message of its own lane returns to the shared
    one after the tenant has moved there, and the other way round it stays where it was.
    """
    names, own = Names(prefix), TenantNames(prefix, tenant)
    single = {"x_single_active_consumer": True} if order == "strict" else {}
    lanes = own_lanes(own, order)
    if not own_lane:
        lanes = dict(zip(lanes, shared_lanes(names, order).values(), strict=True))
    live, bulk = lanes.values()
    queues = [write_queue(queue, names, **single) for queue in dict.fromkeys(lanes.values())] if own_lane else []
    bindings = (
        *(Binding(own.commands, live, f"{word}.#") for word in WRITE_WORDS),
        *(Binding(own.commands, names.tenants_query, f"{word}.#") for word in REQUEST_WORDS),
        *(Binding(own.bulk, bulk, f"{word}.#") for word in WRITE_WORDS),
        *(Binding(own.read, names.tenants_query, f"{operation.value}.#") for operation in sorted(READS)),
        *(lane_binding(names, lane, queue) for lane, queue in lanes.items()),
    )
    exchanges = (
        *(Exchange(name, "topic") for name in (own.commands, own.bulk, own.read)),
        Exchange(own.replies, "direct"),
    )
    return replace(shared_topology(prefix, order), exchanges=exchanges, queues=tuple(queues), bindings=bindings)
