"""Tenants as the pipeline sees them: where their points are, and what each may do now."""

import asyncio
from dataclasses import dataclass, field

from memq_schemas import Queries
from memq_schemas.tenants import lane_owner
from memq_worker.pipeline.command import Request, Write
from memq_worker.pipeline.decode.bodies import Limits, decode, operation_of
from memq_worker.pipeline.delivery import Delivery
from memq_worker.pipeline.limits.allowance import Allowance, throttled
from memq_worker.pipeline.limits.allowances import Allowances
from memq_worker.pipeline.spaces.spaces import Spaces
from memq_worker.pipeline.turns import Turns


@dataclass(frozen=True, slots=True)
class Tenants:
    """Changed in place when the tenants file changes; empty without one."""

    spaces: Spaces = field(default_factory=Spaces)
    allowances: Allowances = field(default_factory=Allowances)
    turns: Turns = field(default_factory=Turns)

    def account(self, lane: str) -> Allowance | None:
        """The account of the tenant whose own lane this is; None while it has no limits."""
        return self.allowances.of(lane_owner(lane))

    def command(self, delivery: Delivery, tenant: str, limits: Limits) -> Write | Request:
        """Return the command in a tenant's delivery, a write as the store gets it.

        Raises MessageError, and Throttled for a request beyond a limit. A write is counted, and never too many.
        """
        is_write, points = operation_of(delivery)[0].is_write, 1
        allowance = self.allowances.of(tenant)
        if allowance is not None:
            allowance.check_size(len(delivery.body))
            if not is_write:
                allowance.ask()
        if not is_write and not self.turns.room(tenant, len(delivery.body)):
            self.allowances.note(tenant, "concurrency")
            raise throttled("concurrency", "unanswered requests in one worker")
        try:
            command = decode(delivery, limits)
            if isinstance(command, Request):
                if allowance is not None and isinstance(command.body, Queries):
                    allowance.asked(len(command.body.queries) - 1)
                return command
            points = len(command.ids or (None,))
            return self.spaces.of(tenant).write(command)
        finally:
            if allowance is not None and is_write:
                allowance.write(points, len(delivery.body))

    def answering(self, delivery: Delivery, task: asyncio.Task[None]) -> None:
        """Count a tenant's request as unanswered until its task ends."""
        tenant, size = delivery.tenant, len(delivery.body)
        if tenant is None:
            return
        self.turns.add(tenant, size)
        task.add_done_callback(lambda _: self.turns.remove(tenant, size))
        if (allowance := self.allowances.of(tenant)) is not None:
            allowance.asking()
            task.add_done_callback(lambda _: allowance.answered())
