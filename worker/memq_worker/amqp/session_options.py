from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from memq_amqp import Connection

from memq_schemas import Topology
from memq_schemas.topology import BULK, LIVE
from memq_worker.amqp.declare import DeclareMode
from memq_worker.amqp.prefetch import Budget, Prefetch
from memq_worker.pipeline.limits.allowance import Allowance


@dataclass(frozen=True, slots=True)
class SessionOptions:
    topology: Topology
    declare: DeclareMode
    prefetch: int
    request_prefetch: int
    timeout_seconds: float
    prefetch_bytes: int | None = None
    """Approximate limit on the bodies of unsettled writes, over all lanes; None for no limit."""
    admit: Callable[[Connection], Awaitable[None]] | None = None
    """Called before anything is consumed. Raises what `open_session` raises."""
    account: Callable[[str], Allowance | None] = lambda _: None
    """Returns the account of the tenant whose own lane is given; None for a lane without limits."""
    tenants_request_prefetch: int = 512
    """Unsettled requests of all tenants. One tenant alone never has so many, see pipeline.turns."""

    @property
    def lanes(self) -> dict[str, str]:
        """Lanes by role: the queue of a role is named after it, below the prefix."""
        names = self.topology.names
        there = {queue.name for queue in self.topology.queues}
        lanes = {"write": LIVE, "write.bulk": BULK}
        return {role: lane for role, lane in lanes.items() if f"{names.prefix}.{role}" in there}

    def prefetch_by_role(self, budget: Budget | None) -> dict[str, Prefetch]:
        """A new prefetch window for each role, for one session."""
        lanes = self.lanes
        return {
            **{role: Prefetch(self.prefetch, budget, lanes=len(lanes)) for role in lanes},
            "query": Prefetch(self.request_prefetch),
            "suspect": Prefetch(1),
        }
