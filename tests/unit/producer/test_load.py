from __future__ import annotations

import asyncio
import itertools
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq import BrokerUnavailable, InvalidRequest, RemoteError, ReplyTimeout, Unconfirmed, Unroutable
from memq_cli.load.arrivals import Arrivals
from memq_cli.load.mix import OPERATIONS, Mix
from memq_cli.load.points import Points
from memq_cli.load.record import NOT_SENT, Record, code_of, latency
from memq_cli.load.stages import Stage, parse_stages, total_seconds, users_at
from memq_cli.load.thresholds import thresholds
from memq_cli.load.users import Users
from memq_schemas import Operation

if TYPE_CHECKING:
    from memq.errors import MemqError

times = st.lists(st.floats(min_value=0, max_value=1000), min_size=1, max_size=300)
stages = st.lists(st.builds(Stage, st.floats(0.1, 100), st.integers(0, 100)), min_size=1, max_size=5).map(tuple)


@given(times)
def test_percentiles_are_times_that_were_measured(seconds: list[float]) -> None:
    found = latency(seconds)
    assert found is not None
    in_order = sorted(seconds)
    for percent, value in zip((50, 90, 95, 99, 100), asdict(found).values(), strict=True):
        # By nearest rank: the smallest time that at least this share of the requests did not exceed.
        rank = -(-len(seconds) * percent // 100)
        assert value == pytest.approx(in_order[rank - 1] * 1000)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 9), st.sampled_from([None, "x", "y"])), max_size=50))
def test_a_summary_adds_up(requests: list[tuple[str, float, str | None]]) -> None:
    record = Record()
    for request in requests:
        record.add(*request)
    summary = record.summary(2.0)
    assert summary.total.requests == len(requests) == sum(f.requests for f in summary.operations.values())
    assert summary.total.errors == sum(f.errors for f in summary.operations.values()) == sum(summary.codes.values())
    assert summary.total.per_second == len(requests) / 2
    assert summary.error_share == (summary.total.errors / len(requests) if requests else 0)
    if requests:
        assert summary.total.latency is not None
        assert summary.total.latency.max == max(seconds for _, seconds, _ in requests) * 1000


def test_what_could_not_be_sent_is_an_error() -> None:
    record = Record()
    for _ in range(8):
        record.add("upsert", 0.1)
    record.not_sent(2)
    summary = record.summary(1.0)
    assert (summary.error_share, summary.codes) == (0.2, {NOT_SENT: 2})
    assert [t.met for t in thresholds(summary)] == [True, False]


def test_only_the_latest_times_are_kept_but_every_request_counts() -> None:
    record = Record(keep=10)
    for number in range(100):
        record.add("query", float(number))
    figures = record.summary(1.0).operations["query"]
    assert (figures.requests, figures.latency and figures.latency.p50) == (100, 94_000)


@pytest.mark.parametrize(
    ("ms", "errors", "kept"),
    [(199.9, 0, [True, True]), (200.0, 0, [False, True]), (10, 1, [True, False]), (250, 5, [False, False])],
)
def test_thresholds(ms: float, errors: int, kept: list[bool]) -> None:
    record = Record()
    for number in range(100):
        record.add("query", ms / 1000, "store_error" if number < errors else None)
    assert [threshold.met for threshold in thresholds(record.summary(1.0))] == kept
    assert all(threshold.met for threshold in thresholds(record.summary(1.0), 1000, 10))


def test_nothing_measured_keeps_no_promise() -> None:
    assert [threshold.met for threshold in thresholds(Record().summary(1.0))] == [False, False]


@given(stages, st.floats(0, 600))
def test_users_stay_between_the_stages(plan: tuple[Stage, ...], seconds: float) -> None:
    users = users_at(plan, seconds)
    if seconds > total_seconds(plan) + 1e-6:
        assert users == 0
    elif seconds < total_seconds(plan) - 1e-6:
        assert min(stage.users for stage in plan) <= users <= max(stage.users for stage in plan)


def test_users_change_in_a_straight_line() -> None:
    plan = parse_stages("10s:10, 20s:50,1m:50,10s:0")
    assert total_seconds(plan) == 100
    assert [users_at(plan, at) for at in (0, 9, 10, 20, 30, 60, 89, 95, 100)] == [10, 10, 10, 30, 50, 50, 50, 25, 0]


def test_stages_take_the_durations_of_memq_dead() -> None:
    assert [stage.seconds for stage in parse_stages("1m30s:5, 1h:2,0.5s:1")] == [90, 3600, 0.5]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("10:5", "'10:5' is not"),
        ("10s:5,", "''"),
        ("1y:5", "'1y:5'"),
        ("0s:5", "duration"),
        ("1s:99999", "10000 users"),
    ],
)
def test_stages_that_cannot_be_read_are_named(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_stages(text)


def test_a_mix_keeps_its_shares() -> None:
    mix = Mix("upsert=3, query=1,get=0", seed=1)
    chosen = [mix.next() for _ in range(4000)]
    assert set(chosen) == {Operation.UPSERT, Operation.QUERY}
    assert 2800 < chosen.count(Operation.UPSERT) < 3200
    assert set(Mix().parts) == set(OPERATIONS)
    assert not any(mix.happens(0) for _ in range(100))
    assert all(mix.happens(1) for _ in range(100))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("upsert", "OPERATION=NUMBER"),
        ("upsert=x", "NUMBER"),
        ("put=1", "expected one of upsert"),
        ("upsert=-1", "0 or more"),
        ("upsert=nan", "0 or more"),
        ("upsert=0", "all parts"),
        ("", "OPERATION=NUMBER"),
    ],
)
def test_a_mix_that_cannot_be_read_is_named(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Mix(text)


def test_points_are_of_length_one_with_few_ids() -> None:
    points = Points(size=8, keys=5, seed=3)
    rows = points.rows(20)
    assert sorted(row["id"] for row in rows) == list(range(5))
    assert all(np.linalg.norm(row["vector"]) == pytest.approx(1) for row in rows)
    assert points.filter()["must"][0]["match"]["value"][0] == "u"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RemoteError("too_large", "…", status=413, retryable=False), "too_large"),
        (ReplyTimeout(), "no_answer"),
        (Unconfirmed(), "no_confirm"),
        (Unroutable(), "unroutable"),
        (BrokerUnavailable(), "broker_unavailable"),
    ],
)
async def test_every_error_of_a_request_has_a_code(error: MemqError, code: str) -> None:
    async def failing() -> None:
        raise error

    assert await code_of(failing()) == code
    assert await code_of(asyncio.sleep(0)) is None


async def test_a_mistake_of_ours_is_no_error_of_a_request() -> None:
    async def failing() -> None:
        raise InvalidRequest

    with pytest.raises(InvalidRequest):
        await code_of(failing())


async def test_what_waits_for_a_stall_is_late_from_when_it_was_due() -> None:
    loop = asyncio.get_running_loop()
    took: list[tuple[float, float]] = []
    free = asyncio.Event()

    async def request(due: float) -> None:
        await free.wait()
        took.append((due, loop.time() - due))

    end_of_stall = loop.time() + 0.3
    loop.call_at(end_of_stall, free.set)
    assert await Arrivals(100, 0.2, request, most=1000).run(asyncio.Event()) == 0
    first = took[0][0]
    assert [due for due, _ in took] == pytest.approx([first + number / 100 for number in range(20)])
    assert all(waited >= end_of_stall - due - 0.001 for due, waited in took)


async def test_without_room_what_was_due_is_counted_as_not_sent() -> None:
    free = asyncio.Event()
    begun = 0

    async def request(_: float) -> None:
        nonlocal begun
        begun += 1
        await free.wait()

    asyncio.get_running_loop().call_later(0.4, free.set)
    assert await Arrivals(100, 0.2, request, most=3).run(asyncio.Event()) == 20 - 3
    assert begun == 3


async def test_a_stop_ends_arrivals_and_what_is_on_its_way_is_waited_for() -> None:
    stop = asyncio.Event()
    ended = 0

    async def request(_: float) -> None:
        nonlocal ended
        stop.set()
        await asyncio.sleep(0.05)
        ended += 1

    # The second one would be due in a hundred seconds.
    assert await Arrivals(0.01, None, request, most=3).run(stop) == 0
    assert ended == 1


async def test_as_many_users_as_the_stages_say_and_all_end() -> None:
    present = 0
    most = 0
    stop = asyncio.Event()
    turns = itertools.count(1)

    async def turn() -> None:
        nonlocal present, most
        present += 1
        most = max(most, present)
        await asyncio.sleep(0.01)
        present -= 1
        if next(turns) > 20 and present == 3:
            stop.set()

    users = Users(parse_stages("1m:4"), turn, 0.0)
    await users.run(stop)
    assert (most, present, users.present) == (4, 0, 0)


async def test_the_last_stage_ends_the_users() -> None:
    async def turn() -> None:
        await asyncio.sleep(0)

    await Users((Stage(0.2, 3),), turn, 0.0).run(asyncio.Event())
