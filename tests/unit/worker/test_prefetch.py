import math
from dataclasses import dataclass

from hypothesis import example, given
from hypothesis import strategies as st

from memq_worker.amqp.prefetch import Budget, Prefetch

MIB = 2**20


@dataclass
class Limit:
    most: int
    paused: int = 0


@given(st.integers(1, 10_000), st.integers(0, 128 * MIB), st.integers(1024, 256 * MIB))
@example(130, 33, 4298)
def test_bodies_of_one_size_take_about_the_bytes_that_they_may(most: int, size: int, most_bytes: int) -> None:
    prefetch = Prefetch(most, Budget(Limit(most_bytes)))
    assert prefetch.count <= 64
    counts = {count_after(prefetch, size, 32) for _ in range(6)}
    shared = most_bytes - most_bytes // 8  # the rest is for bodies that are larger than the mean
    fitting = min(most, max(8, shared // max(size, 1)))
    assert len(counts) == 1
    assert math.floor(fitting / 2) <= prefetch.count <= min(most, 2 * fitting)


@given(st.lists(st.integers(0, 128 * MIB), max_size=200), st.integers(1, 10_000))
def test_it_stays_within_its_bounds(sizes: list[int], most: int) -> None:
    prefetch = Prefetch(most, Budget(Limit(16 * MIB)))
    for size in sizes:
        assert min(most, 8) <= count_after(prefetch, size, 1) <= most


def count_after(prefetch: Prefetch, size: int, deliveries: int) -> int:
    for _ in range(deliveries):
        prefetch.add(size)
    return prefetch.count


def test_small_messages_after_large_ones_get_the_whole_prefetch_again() -> None:
    prefetch = Prefetch(256, Budget(Limit(16 * MIB)))
    assert count_after(prefetch, 1_000_000, 600) == 14
    assert count_after(prefetch, 2_000, 600) == 256


def test_without_a_bound_in_bytes_it_stays() -> None:
    assert count_after(Prefetch(256), 128 * MIB, 100) == 256


def test_lanes_that_receive_messages_share_the_bytes() -> None:
    budget = Budget(Limit(16 * MIB))
    lanes = [Prefetch(256, budget, lanes=4) for _ in range(4)]
    assert {lane.count for lane in lanes} == {1}
    for _ in range(6):
        for lane in lanes[:2]:
            count_after(lane, 1_000_000, 32)
    assert sum(lane.count for lane in lanes[:2]) * 1_000_000 <= 16 * MIB
    assert count_after(lanes[0], 1_000_000, 32) == 7


def test_lanes_that_are_paused_have_a_share_too() -> None:
    limit = Limit(16 * MIB, paused=6)
    assert count_after(Prefetch(256, Budget(limit), lanes=50), 1_000_000, 320) == 2


def test_each_of_many_lanes_gets_one_message() -> None:
    budget = Budget(Limit(16 * MIB))
    lanes = [Prefetch(256, budget, lanes=200) for _ in range(200)]
    assert {lane.count for lane in lanes} == {1}
    counts = [{count_after(lane, 8 * MIB, 32) for lane in lanes} for _ in range(3)]
    assert counts == [{1}] * 3


def test_one_of_many_lanes_has_its_window_after_a_few_messages() -> None:
    assert count_after(Prefetch(256, Budget(Limit(16 * MIB)), lanes=50), 2_000, 4) == 256


def test_a_consumer_that_begins_anew_has_the_right_count_however_small_the_change() -> None:
    prefetch = Prefetch(256, Budget(Limit(16 * MIB)))
    assert count_after(prefetch, 400_000, 320) == 64
    prefetch.renew()
    assert prefetch.count == 36
