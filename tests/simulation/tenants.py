"""Tenants of a simulated world: who exists in which generation of the file, and what every worker has of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from memq_schemas import Names, headers, topology
from memq_schemas.tenants import SHARED, SHARED_BULK, TenantNames, shared_topology, tenant_topology
from memq_schemas.topology import BULK, LIVE
from memq_worker.tenants.applied_file import AppliedFile
from memq_worker.tenants.file import TenantsFile

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from random import Random

    from memq_schemas.topology import Binding, Queue
    from memq_worker.tenants.file import Tenant

NAMES = Names()
# acme has a lane of its own and a limit, beta neither; gone is not in the second generation.
ACME, BETA, GONE = "acme", "beta", "gone"
TENANTS = (ACME, BETA, GONE)
# Until a worker acts by a new generation: it looks every five seconds, and a call may take eight.
FENCED_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """The second generation of the file, in seconds: when it is applied to the broker with the removal of `gone`, and
    when each worker has it, which may be earlier or later.

    points_per_second: acme's limit.
    """

    applied: float
    brought: tuple[float, float]
    points_per_second: float

    def generation(self, now: float) -> int:
        """Return the generation on the broker."""
        return 2 if now >= self.applied else 1

    def announced(self, now: float) -> bytes:
        """Return the message in the queue of the generation."""
        file = self._file(self.generation(now))
        removed = {} if file.generation == 1 else {GONE: self.applied}
        return AppliedFile(file.generation, file.digest, removed).body()

    def of_worker(self, slot: int, now: float) -> TenantsFile:
        """Return the file that the worker of a slot has."""
        return self._file(2 if now >= self.brought[slot] else 1)

    def _file(self, generation: int) -> TenantsFile:
        acme = {"lane": "own", "limits": {"points_per_second": self.points_per_second}}
        tenants = {ACME: acme, BETA: {}} | ({GONE: {}} if generation == 1 else {})
        return TenantsFile.model_validate({"generation": generation, "tenants": tenants})


def rollout(random: Random, span: float) -> Rollout:
    applied = random.choice((0.0, span * random.random(), span + 2.0))
    brought = [max(0.0, applied + random.choice((-3.0, 0.0, 4.0, 40.0))) for _ in range(2)]
    return Rollout(applied, (brought[0], brought[1]), random.choice((0.5, 20.0, 1000.0)))


class Files:
    """The file of a worker's slot, by the loop's clock; a stand-in for memq_worker.tenants.register.Register."""

    problem = ""

    def __init__(self, rollout: Rollout, slot: int, loop: AbstractEventLoop) -> None:
        self._rollout = rollout
        self._slot = slot
        self._loop = loop
        self.current = rollout.of_worker(slot, loop.time())

    @property
    def generation(self) -> int:
        return self.current.generation

    def get(self, name: str) -> Tenant | None:
        return self.current.tenants.get(name)

    def look(self) -> bool:
        found = self._rollout.of_worker(self._slot, self._loop.time())
        changed = found.generation != self.current.generation
        if changed:
            self.current = found
        return changed


def lane(tenant: str | None, name: str) -> str:
    """Return the lane of a message. name: live or bulk."""
    if tenant is None:
        return name
    if tenant == ACME:
        return f"t.{tenant}" if name == LIVE else f"t.{tenant}.bulk"
    return SHARED if name == LIVE else SHARED_BULK


def exchange(tenant: str | None, name: str) -> str:
    """Return the exchange of a message. name: live or bulk."""
    own = NAMES if tenant is None else TenantNames(NAMES.prefix, tenant)
    return own.bulk if name == BULK else own.commands


def reply(tenant: str | None, name: str) -> str:
    """Return the address of a queue for replies."""
    return name if tenant is None else TenantNames(NAMES.prefix, tenant).reply(name)


def _layouts() -> list[tuple[tuple[Queue, ...], tuple[Binding, ...]]]:
    tenants = [tenant_topology(NAMES.prefix, name, own_lane=name == ACME) for name in TENANTS]
    return [(each.queues, each.bindings) for each in (topology(), shared_topology(NAMES.prefix), *tenants)]


QUEUES = tuple(chain.from_iterable(queues for queues, _ in _layouts()))
BINDINGS = tuple(chain.from_iterable(bindings for _, bindings in _layouts()))
# Lanes by queue, of the queues of writes.
LANES = {b.queue: b.arguments[headers.LANE] for b in BINDINGS if headers.LANE in b.arguments and b.queue != NAMES.write}
LANES |= {NAMES.write: LIVE, NAMES.tenants_write: SHARED, NAMES.tenants_write_bulk: SHARED_BULK}
