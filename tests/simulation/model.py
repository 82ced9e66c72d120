"""What one seed stands for: the messages that are sent, the faults that are injected, and what is expected of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from memq_schemas import headers
from memq_schemas.topology import BULK, LIVE
from tests.simulation import tenants
from tests.simulation.scheduler import EPOCH
from tests.simulation.tenants import TENANTS, Rollout

if TYPE_CHECKING:
    from random import Random

MAX_ATTEMPTS = 3

# What a message is, and so what has to become of it. Each write's first point, or id, is its alone: `mark`.
Kind = Literal[
    "plain", "versioned", "delete", "payload", "request", "malformed", "wrong", "refused", "flaky", "failing", "poison"
]
_KINDS: dict[Kind, int] = {
    "plain": 30, "versioned": 24, "delete": 6, "payload": 6, "request": 14, "malformed": 4, "wrong": 3, "refused": 6,
    "flaky": 8, "failing": 3, "poison": 5,
}  # fmt: skip

# The code in the dead letter; what has none is applied, or answered.
DEAD_CODES: dict[Kind, set[str]] = {
    "malformed": {"malformed"},
    "wrong": {"wrong_dimension"},
    "refused": {"rejected_by_store"},
    "failing": {"store_error", "unexpected"},
    "poison": {"delivery_limit"},
}
_MARKS = 1000


@dataclass(slots=True)
class Message:
    n: int
    kind: Kind
    key: str
    body: bytes
    ids: list[int]
    at: float
    version: int | None = None
    failures: int = 0
    unexpected: bool = False
    reply_to: str | None = None
    headers: dict[str, Any] = field(default_factory=dict[str, Any])
    exchange: str = ""
    lane: str = LIVE
    tenant: str | None = None
    forged_reply: bool = False
    """The address is that of another tenant, who gets no answer."""

    @property
    def is_request(self) -> bool:
        return self.kind == "request"

    @property
    def deadline(self) -> float | None:
        """Epoch seconds."""
        deadline = self.headers.get(headers.DEADLINE)
        return None if deadline is None else deadline / 1000


Fault = Literal[
    "disconnect", "channel", "silence", "cancel", "restart", "kill", "soft", "hard", "outage", "nacks", "unconfirmed",
    "unroutable",
]  # fmt: skip
_FAULTS: tuple[Fault, ...] = (
    "disconnect", "disconnect", "channel", "silence", "cancel", "cancel", "restart", "restart", "kill", "soft", "hard",
    "outage", "outage", "nacks", "unconfirmed", "unroutable",
)  # fmt: skip


@dataclass(slots=True)
class Injection:
    at: float
    fault: Fault
    seconds: float
    worker: int
    away: bool
    hanging: bool


@dataclass(slots=True)
class Scenario:
    messages: list[Message]
    injections: list[Injection]
    workers: int
    prefetch: int
    batch_points: int
    nack_counts: bool  # as on RabbitMQ 3.10 and 4.0, and not on 4.3
    lost_replies: float
    partial: float
    slow: float
    rollout: Rollout | None = None
    """Rollout of the tenants file; None where there are no tenants."""
    prefetch_bytes: int = 2**24
    """Unsettled bytes of a worker beyond which lanes take turns."""


def mark_of(point: int | str) -> int | None:
    return point - _MARKS if isinstance(point, int) and point >= _MARKS else None


def scenario(random: Random, others: Random) -> Scenario:
    """others: what is drawn of tenants, so that a seed without them stays the same."""
    span = random.choice((0.0, 0.02, 1.0, 5.0))
    count = random.randint(5, 20)
    kinds: dict[Kind, int] = _KINDS
    killers = random.random() < 0.08
    if killers:
        # A producer with a defect sends one after the other that kills; store and broker take their time.
        span, count = 10.0, random.randint(20, 40)
        kinds = {**_KINDS, "poison": 40, "refused": 20}
    drawn = random.choices(tuple(kinds), tuple(kinds.values()), k=count)
    rollout = tenants.rollout(others, span) if others.random() < 0.4 else None
    whose = [None if rollout is None else others.choice((None, *TENANTS)) for _ in drawn]
    messages = [_message(random, kind, n, span, whose[n]) for n, kind in enumerate(drawn)]
    for message in messages:
        _forge(message, others)
    prefetch_bytes = 2**24 if rollout is None else others.choice((2**24, 400, 50))
    # A few disconnections a message: more would end what is in quarantine by its delivery limit, rightly.
    injections = [_injection(random, max(span, 2.0)) for _ in range(random.choice((0, 1, 1, 2, 2, 3)))]
    if killers:
        refusal = random.choice(("nacks", "unroutable", "unconfirmed"))
        injections.append(Injection(span * random.random(), refusal, 40.0, 0, away=False, hanging=False))
    if any(i.fault == "hard" for i in injections) and random.random() < 0.5:
        # Cut off in the middle of a call is the stop that could lose something.
        injections.append(Injection(0.0, "outage", max(span, 2.0), 0, away=True, hanging=True))
    faulty = random.random() < 0.5
    return Scenario(
        messages=messages,
        injections=sorted(injections, key=lambda i: i.at),
        workers=random.choice((1, 1, 2)),
        prefetch=random.choice((2, 5, 20)),
        batch_points=random.choice((2, 4, 50)),
        nack_counts=random.random() < 0.5,
        lost_replies=0.08 if faulty else 0.0,
        partial=0.05 if faulty else 0.0,
        slow=0.4 if killers else 0.1 if faulty else 0.0,
        rollout=rollout,
        prefetch_bytes=prefetch_bytes,
    )


def _injection(random: Random, span: float) -> Injection:
    return Injection(
        at=span * random.random(),
        fault=random.choice(_FAULTS),
        seconds=random.choice((0.01, 0.5, 4.0, 15.0)),
        worker=random.randrange(2),
        away=random.random() < 0.5,
        hanging=random.random() < 0.3,
    )


def _forge(message: Message, random: Random) -> None:
    """Let a tenant's client claim to be another, and ask for an answer to another."""
    if message.tenant is None:
        return
    if random.random() < 0.3:
        message.headers[headers.TENANT] = random.choice(TENANTS)
    if message.reply_to is not None and random.random() < 0.2:
        other = random.choice([name for name in TENANTS if name != message.tenant])
        message.reply_to, message.forged_reply = tenants.reply(other, "caller"), True


def _message(random: Random, kind: Kind, n: int, span: float, tenant: str | None) -> Message:
    at = span * random.random()
    if kind == "request":
        return _request(random, n, at, tenant)
    reply_to = random.choice((None, None, "caller", "gone"))
    ids = [_MARKS + n]
    # A collection of one tenant has no points of another: equal ids would be told apart by it alone.
    first = 0 if tenant is None else 100 * (1 + TENANTS.index(tenant))
    if kind in ("plain", "delete", "payload"):
        ids += [first + point for point in random.sample(range(4), random.randint(1, 2))]
    version = random.randrange(1, 2**40) if kind == "versioned" else None
    if kind == "versioned":
        ids += [first + point for point in random.sample(range(10, 13), random.randint(1, 2))]
    if kind == "delete":
        key, body = "delete.docs", {"ids": ids}
    elif kind == "payload":
        key, body = "payload.docs", {"ids": ids, "set": {"n": n}}
    else:
        key, body = "upsert.docs", {"points": [_point(i, n, version, 3 if kind == "wrong" else 2) for i in ids]}
    text = json.dumps(body).encode()
    chance = int(at * 10**9) + n
    return Message(
        n=n,
        kind=kind,
        key=key,
        # Spaces at the end make each body its own, whatever is in it.
        body=text[: 8 + n] if kind == "malformed" else text + b" " * n,
        ids=ids,
        at=at,
        version=version,
        failures={"flaky": random.randint(1, MAX_ATTEMPTS - 1), "failing": 10**9}.get(kind, 0),
        unexpected=random.random() < 0.3,
        reply_to=reply_to and tenants.reply(tenant, reply_to),
        # What a client says of a lane counts for nothing.
        headers={headers.LANE: (LIVE, BULK, "none")[chance % 3]} if chance % 5 == 0 else {},
        exchange=tenants.exchange(tenant, BULK if chance % 7 < 3 else LIVE),
        lane=tenants.lane(tenant, BULK if chance % 7 < 3 else LIVE),
        tenant=tenant,
    )


def _point(point: int, n: int, version: int | None, size: int) -> dict[str, Any]:
    made: dict[str, Any] = {"id": point, "vector": [1.0] * size, "payload": {"n": n}}
    return made if version is None else made | {"version": version}


def _request(random: Random, n: int, at: float, tenant: str | None) -> Message:
    key, body = random.choice((("count.docs", {}), ("query.docs", {"vector": [1.0, 2.0]}), ("collections.list", {})))
    deadline = random.choice((None, 0.001, 2.0, 20.0))
    reply_to = random.choice(("caller", "caller", "gone", None))
    return Message(
        n=n,
        kind="request",
        key=key,
        body=json.dumps(body).encode() + b" " * n,
        ids=[],
        at=at,
        reply_to=reply_to and tenants.reply(tenant, reply_to),
        exchange=tenants.exchange(tenant, LIVE),
        tenant=tenant,
        headers={} if deadline is None else {headers.DEADLINE: int((EPOCH + at + deadline) * 1000)},
    )
