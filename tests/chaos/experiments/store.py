"""The store fails in every way it can, one after the other and mixed, while messages keep coming."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
from qdrant_client import grpc as q

from tests.chaos.checker import Rules
from tests.chaos.scene import Ground, Plan, scene
from tests.support.faults import Fault, FaultyStore, faulty_store
from tests.support.until import until

if TYPE_CHECKING:
    from tests.chaos.figures import Figures

S = grpc.StatusCode


WAITED_TOO_LONG: bytes = q.PointsOperationResponse(
    result=q.UpdateResult(status=q.UpdateStatus.WaitTimeout)
).SerializeToString()

# Each is an outage, or is answered by the next attempt: none of them may cost a message.
PASSING: dict[str, Fault] = {
    "unavailable": Fault(S.UNAVAILABLE, "connection refused"),
    "429 with retry-after": Fault(S.RESOURCE_EXHAUSTED, "too many requests", (("retry-after", "0.2"),)),
    "deadline exceeded": Fault(S.DEADLINE_EXCEEDED),
    "out of disk": Fault(S.INTERNAL, "Service internal error: No space left on device"),
    "read only": Fault(S.FAILED_PRECONDITION, "read only"),
    "key revoked": Fault(S.UNAUTHENTICATED, "invalid api-key"),
    "replica lost": Fault(S.INTERNAL, "Service internal error: no active replica"),
    "done and the answer lost": Fault(S.UNAVAILABLE, "connection reset", after=True),
    "done and answered too late": Fault(S.DEADLINE_EXCEEDED, "deadline", after=True),
}
OFFENDER = 999_999
_PATIENCE_SECONDS = 6.0


async def run(ground: Ground, plan: Plan) -> Figures:
    """plan.kills rounds through every fault; offenders that the store refuses sit among good messages."""
    async with scene(ground, "store failing", plan) as playing, faulty_store(playing.engine.url) as store:
        playing.store_url = store.url
        await playing.crew()
        store.fail_always("Upsert", Fault(S.INVALID_ARGUMENT, "Wrong input: odd", only=_has_offender))
        async with playing.sdk() as source, playing.wire() as wire:
            for _ in range(plan.kills):
                faults = list(PASSING.items())
                playing.chance.shuffle(faults)
                for kind, fault in faults:
                    if time.monotonic() - playing.began > plan.seconds:
                        break
                    times = playing.chance.randint(1, 2)
                    store.fail("Upsert", *[fault] * times)
                    playing.faults[kind] += times
                    await source.send(playing.making.messages(plan.messages // plan.kills // len(faults)))
                    # One outage after the other: many in a row would only test the patience of the backoff.
                    await _past(store)
                # Not done, and answered: a worker that takes any answer for success loses these.
                store.fail("Upsert", Fault(instead=WAITED_TOO_LONG))
                playing.faults["WaitTimeout, not done"] += 1
                await source.send(playing.making.messages(20))
                offender = playing.making.message(1, expected="refused", operation="hostile")
                body = b'{"points":[{"id":%d,"vector":[1,2,3,4]}]}' % OFFENDER
                # In the midst of a crowd, so that it is merged with others.
                await asyncio.gather(
                    source.send(playing.making.messages(60)),
                    wire.hostile("upsert.chaos", body, offender),
                    source.send(playing.making.messages(60)),
                )
                playing.faults["offender in a batch"] += 1
        return await playing.finish(Rules())


async def _past(store: FaultyStore) -> None:
    """Until a call has got through after the last fault. A worker that makes none is left to the checker."""
    with suppress(AssertionError):
        await until(lambda: not store.waiting("Upsert"), within=_PATIENCE_SECONDS)
        calls = len(store.calls)
        await until(lambda: len(store.calls) > calls, within=_PATIENCE_SECONDS)


def _has_offender(request: bytes) -> bool:
    return any(point.id.num == OFFENDER for point in q.UpsertPoints.FromString(request).points)
