"""The reason for a nack of a tenant's write."""

from __future__ import annotations

import asyncio

import pytest

from memq.deliver.quota import Quota
from memq.errors import BrokerUnavailable, QuotaExceeded
from memq_schemas import TenantLimit
from memq_schemas.tenants import TenantNames

NAMES = TenantNames("memq", "acme")


def limit(reached: bool | None, lane: str = "live") -> TenantLimit:
    return TenantLimit.model_validate({"name": "backlog_bytes", "limit": 100, "lane": lane, "reached": reached})


class Worker:
    def __init__(self, *limits: TenantLimit) -> None:
        self.limits = list(limits)
        self.asked = 0

    async def answer(self) -> list[TenantLimit]:
        self.asked += 1
        await asyncio.sleep(0)
        return self.limits


async def check(quota: Quota, since: float, exchange: str = NAMES.commands) -> None:
    await quota.check("upsert.notes", exchange, since)


async def test_a_full_lane_is_named_to_all_that_wait_with_one_question() -> None:
    worker = Worker(limit(True))
    quota = Quota(NAMES, worker.answer)
    now = asyncio.get_running_loop().time()
    results = await asyncio.gather(*(check(quota, now) for _ in range(20)), return_exceptions=True)
    assert {type(each) for each in results} == {QuotaExceeded}
    assert {each.limit for each in results if isinstance(each, QuotaExceeded)} == {"backlog_bytes"}
    assert worker.asked == 1


async def test_a_lane_with_room_counts_as_full_only_for_a_second_nack_after_the_answer() -> None:
    worker = Worker(limit(False))
    quota = Quota(NAMES, worker.answer)
    first = asyncio.get_running_loop().time()
    await check(quota, first)
    later = asyncio.get_running_loop().time()
    # Another message, whose first nack came after the answer: its queue may have lost its leader since.
    await check(quota, later + 1)
    with pytest.raises(QuotaExceeded):
        await check(quota, first)


@pytest.mark.parametrize(
    "limits",
    [
        [],
        [limit(None)],
        [limit(True, "bulk")],
        [TenantLimit.model_validate({"name": "stored_points", "limit": 1, "used": 1, "reached": True})],
    ],
    ids=["no limits", "unknown", "another lane", "another limit"],
)
async def test_an_answer_that_does_not_explain_the_nack_leaves_it_to_another_attempt(limits: list[TenantLimit]) -> None:
    quota = Quota(NAMES, Worker(*limits).answer)
    first = asyncio.get_running_loop().time()
    for _ in range(3):
        await check(quota, first)


async def test_no_answer_and_other_exchanges_leave_it_to_another_attempt() -> None:
    async def silent() -> list[TenantLimit]:
        raise BrokerUnavailable("gone")

    quota = Quota(NAMES, silent)
    first = asyncio.get_running_loop().time()
    await check(quota, first)
    await check(quota, first)
    worker = Worker(limit(True))
    await check(Quota(NAMES, worker.answer), first, NAMES.read)
    assert worker.asked == 0
