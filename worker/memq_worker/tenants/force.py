"""A tenants file put in force in a worker."""

from collections.abc import Callable, Collection
from functools import partial

from memq_schemas import Names
from memq_schemas.tenants import TenantNames, own_lanes, shared_lanes
from memq_schemas.topology import LIVE, Order
from memq_worker.pipeline.spaces.own_space import OwnSpace
from memq_worker.pipeline.spaces.shared_space import SharedSpace
from memq_worker.pipeline.spaces.space import Space
from memq_worker.pipeline.store import Store
from memq_worker.pipeline.tenants import Tenants
from memq_worker.tenants.file import TenantsFile
from memq_worker.tenants.shared_collections import prepare


async def enter(store: Store, tenants: Tenants, file: TenantsFile, timeout: float) -> None:
    """Create the shared collections of a file, then take over its tenants and their limits. Raises WorkerError."""
    await prepare(store, file.shared, timeout)
    tenants.spaces.replace(_spaces(file, tenants.allowances.note))
    tenants.allowances.replace({name: tenant.limits for name, tenant in file.tenants.items()})


def queues_of(file: TenantsFile, names: Names, order: Order, draining: Collection[str] = frozenset()) -> dict[str, str]:
    """Return the queues of tenants that a worker consumes, each with its lane.

    draining: tenants whose former lane may still hold messages.
    """
    lanes = {queue: lane for lane, queue in reversed(shared_lanes(names, order).items())}
    lanes[names.tenants_query] = LIVE
    for name, tenant in file.tenants.items():
        if tenant.own_lane or name in draining:
            own = own_lanes(TenantNames(names.prefix, name), order)
            lanes |= {queue: lane for lane, queue in reversed(own.items())}
    return lanes


def own_queues(file: TenantsFile | None, prefix: str) -> dict[str, list[str]]:
    """Return the queues of each tenant with lanes of its own, by tenant."""
    tenants = {} if file is None else file.tenants
    own = {name: TenantNames(prefix, name).lanes.values() for name, tenant in tenants.items() if tenant.own_lane}
    return {name: list(queues) for name, queues in own.items()}


def _spaces(file: TenantsFile, reached: Callable[[str, str], None]) -> dict[str, Space]:
    """Return a space for each tenant, by name: where its points are.

    reached: called with tenant and limit each time that a limit holds a tenant back.
    """
    return {
        name: OwnSpace(name, tenant.limits.collections, partial(reached, name))
        if tenant.storage == "own"
        else SharedSpace(name, file.shared_of(name))
        for name, tenant in file.tenants.items()
    }
