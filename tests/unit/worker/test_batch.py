from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from memq_schemas import Delete, Filter, SetPayload
from memq_worker.pipeline.apply import merge_ids, merge_points, merge_versions
from memq_worker.pipeline.batch import Batch, BatchLimits, WriteQueue, kind_of
from memq_worker.pipeline.command import ChangePayload, DeletePoints, Write
from memq_worker.pipeline.store import PointsBatch
from tests.unit.worker.fakes import FakeLink, delivery, upserting

LINK = FakeLink()
EVERYTHING = Filter.model_validate({"must": [{"key": "a", "match": {"value": 1}}]})


def points(ids: list[int], versions: list[int | None] | None = None, mark: int = 0) -> PointsBatch:
    return PointsBatch(list(ids), {"": [bytes([mark])] * len(ids)}, [{"mark": mark}] * len(ids), versions)


def command(kind: str, ids: list[int], number: int, alone: bool = False, lane: str = "live") -> Write:
    came = delivery(LINK, number, b"x" * 10)
    came.alone = alone
    came.lane = lane
    if kind == "upsert":
        return upserting(came, "docs", points(ids, mark=number % 250))
    if kind == "versioned":
        return upserting(came, "docs", points(ids, versions=[number for _ in ids], mark=number % 250))
    if kind == "mixed":
        versions: list[int | None] = [None, *([number] * len(ids))]
        return upserting(came, "docs", points(ids, versions=versions[: len(ids)], mark=number % 250))
    if kind == "versioned delete":
        return DeletePoints(came, "docs", Delete(ids=list(ids), version=number))
    if kind == "delete":
        return DeletePoints(came, "docs", Delete(ids=list(ids)))
    if kind == "payload":
        return ChangePayload(came, "docs", SetPayload(ids=list(ids), set={"a": number}))
    return DeletePoints(came, "docs", Delete(filter=EVERYTHING))


LANES = st.sampled_from(["live", "bulk", "third"])

step = st.one_of(
    st.tuples(
        st.sampled_from(["upsert", "upsert", "versioned", "mixed", "delete", "versioned delete", "payload", "filter"]),
        st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True),
        st.booleans(),
        LANES,
    ),
    st.tuples(st.just("take"), LANES),
    st.sampled_from(["finish first", "finish last"]),
)


def overlaps(first: Write, second: Write) -> bool:
    return first.ids is None or second.ids is None or not set(first.ids).isdisjoint(second.ids)


@given(steps=st.lists(step, max_size=60), most=st.integers(1, 8), messages=st.integers(1, 8))
def test_writes_of_an_id_keep_their_order_and_never_overlap(steps: list[Any], most: int, messages: int) -> None:
    queue = WriteQueue(BatchLimits(max_points=most, max_bytes=1000, max_messages=messages))
    added: list[Write] = []
    begun: dict[Write, int] = {}
    flying: list[Batch] = []

    def take(lane: str | None = None) -> None:
        led = lane if lane is not None and queue.waits(lane) else None
        batch = queue.take(lane)
        if batch is None:
            return
        assert led is None or led in batch.cost_by_lane(9) or batch.barrier or flying, "the lane does not lead its turn"
        for one in batch.commands:
            for other in flying:
                assert not any(overlaps(one, c) for c in other.commands), "two writes of one id in flight"
            begun[one] = len(begun)
        assert len({kind_of(c) for c in batch.commands}) == 1
        assert len(batch.commands) <= messages
        assert len(batch.commands) == 1 or sum(len(c.ids or ()) for c in batch.commands) <= most
        assert len(batch.commands) == 1 or not any(c.delivery.alone for c in batch.commands)
        assert len(batch.commands) == 1 or batch.kind not in ("payload", "mixed")
        flying.append(batch)

    for number, each in enumerate(steps):
        if isinstance(each, tuple) and len(each) == 4:
            kind, ids, alone, lane = each
            added.append(command(kind, ids, number, alone, lane))
            queue.add(added[-1])
        elif isinstance(each, tuple):
            take(each[1])
        elif flying:
            queue.finished(flying.pop(0 if each == "finish first" else -1))
    while flying or len(queue):
        before = len(begun)
        take()
        if len(begun) == before:
            assert flying, "something waits and nothing may be written: stuck"
            queue.finished(flying.pop(0))
    assert set(begun) == set(added), "every command is written once"
    assert queue.idle
    assert (queue._points, queue._bytes) == (0, 0)
    for index, earlier in enumerate(added):
        for later in added[index + 1 :]:
            if overlaps(earlier, later) and earlier.delivery.lane == later.delivery.lane:
                assert begun[earlier] < begun[later], "a later write of the same id and lane went first"


@given(parts=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=6))
def test_merging_keeps_the_last_of_each_id(parts: list[list[int]]) -> None:
    commands = [upserting(delivery(LINK, n, b""), "docs", points(ids, mark=n)) for n, ids in enumerate(parts)]
    merged, superseded = merge_points(commands)
    assert not superseded, "without versions every one was written, only not one by one"
    last = {point: number for number, ids in enumerate(parts) for point in ids}
    assert len(merged.ids) == len(set(merged.ids))
    assert {i: p["mark"] for i, p in zip(merged.ids, merged.payloads, strict=True) if p} == last
    assert merged.columns[""] == [bytes([last[int(i)]]) for i in merged.ids]


@given(
    parts=st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=5), min_size=1, max_size=5
    )
)
def test_merging_versions_keeps_the_highest_and_of_equals_the_first(parts: list[list[tuple[int, int]]]) -> None:
    commands = [
        upserting(delivery(LINK, n, b""), "docs", points([i for i, _ in part], versions=[v for _, v in part], mark=n))
        for n, part in enumerate(parts)
    ]
    merged, superseded = merge_points(commands)
    best: dict[int, tuple[int, int]] = {}
    for number, part in enumerate(parts):
        for point, version in part:
            if point not in best or version > best[point][0]:
                best[point] = (version, number)
    assert merged.versions is not None
    assert {
        i: (v, p["mark"]) for i, v, p in zip(merged.ids, merged.versions, merged.payloads, strict=True) if p
    } == best
    assert superseded == {c for n, c in enumerate(commands) if n not in {number for _, number in best.values()}}


def test_columns_of_messages_with_different_vector_names_line_up() -> None:
    first = PointsBatch([1], {"a": [b"1a"]}, [None])
    second = PointsBatch([2, 3], {"a": [None, b"3a"], "b": [b"2b", None]}, [None, None])
    merged, _ = merge_points([upserting(delivery(LINK, n, b""), "docs", p) for n, p in enumerate((first, second))])
    assert merged.ids == [1, 2, 3]
    assert merged.columns == {"a": [b"1a", None, b"3a"], "b": [None, b"2b", None]}


def test_ids_to_delete_are_asked_for_once() -> None:
    commands = [
        DeletePoints(delivery(LINK, n, b""), "docs", Delete(ids=[*ids])) for n, ids in enumerate(([1, 2], [2, 3]))
    ]
    assert merge_ids(commands) == [1, 2, 3]


def test_of_several_deletes_of_an_id_the_highest_version_counts() -> None:
    deletes = [([1, 2], 5), ([2, 3], 9), ([2, 1], 7)]
    commands = [
        DeletePoints(delivery(LINK, n, b""), "docs", Delete(ids=[*ids], version=version))
        for n, (ids, version) in enumerate(deletes)
    ]
    assert merge_versions(commands) == {1: 7, 2: 9, 3: 9}


def test_the_lane_whose_turn_it_is_leads_and_others_fill_its_batch() -> None:
    queue = WriteQueue(BatchLimits(max_points=4, max_bytes=1000))
    bulk = [command("upsert", [n, n + 100], n, lane="bulk") for n in range(4)]
    live = command("upsert", [50], 9)
    for one in (*bulk, live):
        queue.add(one)
    batch = queue.take("live")
    assert batch is not None
    assert batch.commands == [live, bulk[0]]
    assert batch.cost_by_lane(9) == {"live": 1, "bulk": 2}


def test_a_write_by_filter_is_not_kept_waiting_by_other_lanes() -> None:
    queue = WriteQueue(BatchLimits(max_points=4, max_bytes=1000))
    queue.add(command("upsert", [1], 1, lane="bulk"))
    flying = queue.take("bulk")
    assert flying is not None
    by_filter = command("filter", [0], 2)
    queue.add(by_filter)
    queue.add(command("upsert", [2], 3, lane="bulk"))
    assert queue.take("live") is None, "a write is in flight"
    assert queue.take("bulk") is None, "it would go on for ever"
    queue.finished(flying)
    batch = queue.take("live")
    assert batch is not None
    assert batch.commands == [by_filter]


def test_a_message_larger_than_a_batch_is_a_batch_of_its_own() -> None:
    queue = WriteQueue(BatchLimits(max_points=2, max_bytes=1000))
    large, small = command("upsert", [1, 2, 3, 4], 1), command("upsert", [9], 2)
    queue.add(large)
    queue.add(small)
    batch = queue.take()
    assert batch is not None
    assert batch.commands == [large]


def test_removing_what_waits_leaves_the_order_of_the_rest() -> None:
    queue = WriteQueue(BatchLimits(max_points=10, max_bytes=1000))
    commands = [command("upsert", [n], n) for n in range(5)]
    for one in commands:
        queue.add(one)
    assert queue.remove(lambda c: c.delivery.tag % 2 == 1) == [commands[1], commands[3]]
    batch = queue.take()
    assert batch is not None
    assert batch.commands == [commands[0], commands[2], commands[4]]


def test_nothing_passes_a_write_of_the_same_id_that_waits_itself() -> None:
    queue = WriteQueue(BatchLimits(max_points=10, max_bytes=1000))
    first, blocked, behind, free = (command("upsert", ids, n) for n, ids in enumerate(([1], [1, 2], [2], [3])))
    queue.add(first)
    flying = queue.take()
    assert flying is not None
    for one in (blocked, behind, free):
        queue.add(one)
    beside = queue.take()
    assert beside is not None
    assert beside.commands == [free], "2 has to wait for the write of 1 and 2, which waits for that of 1"
    queue.finished(flying)
    rest = queue.take()
    assert rest is not None
    assert rest.commands == [blocked, behind]


@given(
    sizes=st.lists(st.tuples(st.integers(0, 9), LANES), max_size=20),
    kept=st.integers(0, 10),
    kept_size=st.integers(0, 40),
)
def test_a_cut_keeps_the_first_commands_within_both_limits(
    sizes: list[tuple[int, str]], kept: int, kept_size: int
) -> None:
    queue = WriteQueue(BatchLimits(max_points=100, max_bytes=1000))
    commands = [command("upsert", [n], n, lane=lane) for n, (_, lane) in enumerate(sizes)]
    for one, (size, _) in zip(commands, sizes, strict=True):
        one.delivery.body = b"." * size
        queue.add(one)
    gone = queue.cut(kept, kept_size)
    stayed = [one for one in commands if one not in gone]
    size = sum(len(one.delivery.body) for one in stayed)
    assert len(stayed) <= kept
    assert size <= kept_size
    assert (len(queue), queue.size) == (len(stayed), size)
    for lane in {lane for _, lane in sizes}:
        own = [one for one in commands if one.delivery.lane == lane]
        assert [one in gone for one in own] == sorted(one in gone for one in own), "a later command stays instead"
    assert not gone or len(stayed) == kept or size + max(len(one.delivery.body) for one in gone) > kept_size


def test_a_small_batch_takes_a_quarter() -> None:
    queue = WriteQueue(BatchLimits(max_points=8, max_bytes=1000))
    for number in range(6):
        queue.add(command("upsert", [number], number))
    assert not queue.full()
    assert queue.full(small=True)
    small = queue.take(small=True)
    assert small is not None
    assert len(small.commands) == 2
    rest = queue.take()
    assert rest is not None
    assert len(rest.commands) == 4


def test_a_small_batch_keeps_the_limit_on_messages() -> None:
    queue = WriteQueue(BatchLimits(max_points=100, max_bytes=10_000, max_messages=3))
    for number in range(6):
        queue.add(command("upsert", [number], number))
    small = queue.take(small=True)
    assert small is not None
    assert len(small.commands) == 3
