from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from memq_schemas import CreateCollection, ErrorCode
from memq_worker.errors import MessageError, Throttled
from memq_worker.pipeline.intake import Pipeline
from memq_worker.pipeline.limits.allowance import Allowance
from memq_worker.pipeline.limits.allowances import Allowances
from memq_worker.pipeline.limits.bucket import Bucket
from memq_worker.pipeline.spaces.own_space import OwnSpace
from memq_worker.pipeline.spaces.shared_space import SharedSpace
from memq_worker.pipeline.spaces.spaces import Spaces
from memq_worker.pipeline.tenants import Tenants
from memq_worker.tenants.file import Limits
from tests.unit.worker.fakes import FakeLink, FakeStore, Watch, delivery, options, upsert

if TYPE_CHECKING:
    from memq_worker.pipeline.delivery import Delivery


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.mark.parametrize("share", [1, 2, 7])
@pytest.mark.parametrize("size", [1, 30, 1000])
def test_the_mean_rate_is_exact_for_messages_of_any_size(share: int, size: int) -> None:
    clock = Clock()
    bucket = Bucket(100.0, clock)
    bucket.share = share
    taken = 0
    while clock.at < 1000:
        bucket.take(size)
        taken += size
        clock.at += bucket.wait()
    assert taken == pytest.approx(clock.at * 100 / share, abs=size + 25 / share + 1)


def test_an_unused_rate_is_not_saved_up() -> None:
    clock = Clock()
    bucket = Bucket(100.0, clock)
    clock.at = 3600.0
    bucket.take(25)
    assert bucket.wait() == 0
    bucket.take(100)
    assert bucket.wait() == 1.0


def test_requests_beyond_a_limit_name_it_and_when_to_ask_again() -> None:
    allowance = Allowance(Limits(requests_per_second=10.0, concurrency=2))
    allowance.ask()
    with pytest.raises(Throttled, match="requests_per_second") as refused:
        allowance.ask()
    assert refused.value.code is ErrorCode.OVERLOADED
    assert 0 < refused.value.retry_after_seconds <= 0.1
    allowance = Allowance(Limits(concurrency=2))
    allowance.asking()
    allowance.ask()
    allowance.asking()
    with pytest.raises(Throttled, match="concurrency"):
        allowance.ask()
    allowance.answered()
    allowance.ask()
    allowance.share(2)
    with pytest.raises(Throttled, match="concurrency"):
        allowance.ask()


async def test_queries_of_one_message_count_one_by_one() -> None:
    allowances = Allowances({"acme": Limits(requests_per_second=10.0)})
    tenants = Tenants(Spaces({"acme": OwnSpace("acme")}), allowances)
    pipeline = Pipeline(FakeStore(), Watch(), options(), tenants=tenants)
    link = FakeLink()
    message = delivery(link, 1, {"queries": [{"vector": [1.0, 2.0]}] * 5}, "queries.docs", reply_to="memq.reply.acme.1")
    message.tenant = "acme"
    pipeline.accept(message)
    await link.settled(1)
    (reply,) = link.moved("memq.r.acme")
    assert [each["status"] for each in reply.json["result"]] == [200] * 5
    allowance = allowances.of("acme")
    assert allowance is not None
    with pytest.raises(Throttled, match="requests_per_second") as refused:
        allowance.ask()
    assert 0.3 < refused.value.retry_after_seconds <= 0.5
    async with asyncio.timeout(5):
        await pipeline.drain()


def test_a_larger_body_is_refused() -> None:
    allowance = Allowance(Limits(message_bytes=10))
    allowance.check_size(10)
    with pytest.raises(MessageError, match="message_bytes") as refused:
        allowance.check_size(11)
    assert refused.value.code is ErrorCode.TOO_LARGE


def test_the_account_goes_on_while_the_limits_stay_the_same() -> None:
    allowances = Allowances({"acme": Limits(points_per_second=1.0)})
    before = allowances.of("acme")
    assert before is not None
    before.write(100, 1)
    allowances.replace({"acme": Limits(points_per_second=1.0), "free": Limits()})
    assert allowances.of("acme") is before
    assert before.rest > 90
    assert before.reached == ["points_per_second"]
    assert allowances.of("free") is None
    assert allowances.of(None) is None
    allowances.replace({"acme": Limits(points_per_second=2.0)})
    assert allowances.of("acme") is not before
    allowances.replace({})
    assert not allowances


def test_the_window_follows_the_rate_and_the_mean_size() -> None:
    allowance = Allowance(Limits(points_per_second=8000.0))
    for _ in range(200):
        allowance.write(1, 10)
    assert allowance.window == 1000
    for _ in range(200):
        allowance.write(100, 10)
    assert allowance.window == 10
    allowance.share(100)
    assert allowance.window == 1
    assert Allowance(Limits(stored_points=1)).window is None


class CountingStore(FakeStore):
    """Counts the points that it has, and finds those that are asked for."""

    counted = 0

    async def list_collections(self, timeout: float) -> list[str]:
        return ["acme.docs", "evil.docs"]

    async def count(self, collection: str, where: Any, timeout: float) -> int:
        self.counted += 1
        return len(self.points)

    async def get(self, collection: str, get: Any, timeout: float) -> list[dict[str, Any]]:
        return [{"id": point} for point in get.ids if point in self.points]


@pytest.mark.parametrize("storage", ["own", "shared"])
@pytest.mark.parametrize("workers", [1, 3])
async def test_stored_points_are_limited_and_may_be_replaced(storage: str, workers: int) -> None:
    store, link = CountingStore(), FakeLink()
    space = OwnSpace("acme") if storage == "own" else SharedSpace("acme", {"docs": CreateCollection(size=2)})
    tenants = Tenants(Spaces({"acme": space}), Allowances({"acme": Limits(stored_points=10)}))
    tenants.allowances.share(workers)
    pipeline = Pipeline(store, Watch(), options(), tenants=tenants)

    async def write(tag: int, *ids: int) -> str:
        message: Delivery = delivery(link, tag, upsert(*ids), reply_to=f"memq.reply.acme.{tag}")
        message.tenant = "acme"
        pipeline.accept(message)
        await link.until(lambda link: any(p.routing_key == f"memq.reply.acme.{tag}" for p in link.published))
        reply = next(p for p in link.published if p.routing_key == f"memq.reply.acme.{tag}").json
        return "" if reply["status"] == 200 else f"{reply['error']['code']} {reply['error']['message']}"

    for number in range(9):
        assert await write(number + 1, number) == ""
    for number in range(9):
        assert await write(number + 20, number) == ""
    assert await write(30, 8, 9) == ""
    assert len(store.points) == 10
    assert await write(31, 0, 5, 9) == ""
    assert await write(32, 9, 10) == "quota_exceeded stored_points: the tenant's limit of 10 points is reached"
    assert len(store.points) == 10
    store.points.clear()
    assert await write(33, 11) == ""


async def test_without_limits_nothing_is_counted() -> None:
    store, link = CountingStore(), FakeLink()
    pipeline = Pipeline(store, Watch(), options(), tenants=Tenants(Spaces({"acme": OwnSpace("acme")})))
    message = delivery(link, 1, upsert(1))
    message.tenant = "acme"
    pipeline.accept(message)
    await link.settled(1)
    assert store.counted == 0


async def test_writes_are_never_refused_for_their_rate_and_requests_are() -> None:
    store, link = FakeStore(), FakeLink()
    limits = Limits(points_per_second=1.0, requests_per_second=1.0)
    tenants = Tenants(Spaces({"acme": OwnSpace("acme")}), Allowances({"acme": limits}))
    pipeline = Pipeline(store, Watch(), options(), tenants=tenants)
    for tag in range(1, 6):
        message = delivery(link, tag, upsert(tag))
        message.tenant = "acme"
        pipeline.accept(message)
    await link.settled(5)
    allowance = tenants.allowances.of("acme")
    assert allowance is not None
    assert allowance.rest > 3
    for tag in range(6, 8):
        message = delivery(link, tag, {}, "count.docs", reply_to=f"memq.reply.acme.{tag}")
        message.tenant = "acme"
        pipeline.accept(message)
    await link.settled(7)
    errors = [each.json["error"] for each in link.moved("memq.r.acme") if each.json["status"] == 429]
    assert [each["code"] for each in errors] == ["overloaded"]
    assert all(0 < each["retry_after"] <= 2 for each in errors)
    async with asyncio.timeout(5):
        await pipeline.drain()
