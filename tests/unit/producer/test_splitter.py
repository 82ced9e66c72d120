from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memq import InvalidPoint
from memq.encode.points import FRAME_BYTES, Splitter

POINTS = st.lists(st.integers(1, 30).map(lambda size: b"7" * size), max_size=60)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(POINTS, st.integers(1, 9), st.integers(30 + FRAME_BYTES, 120))
def test_every_point_travels_once_in_order_and_within_both_limits(points: list[bytes], count: int, size: int) -> None:
    splitter = Splitter(count, size)
    batches = [full for point in points if (full := splitter.add(point))]
    if rest := splitter.rest():
        batches.append(rest)
    assert [point for batch in batches for point in batch.points] == points
    assert [position for batch in batches for position in batch.positions] == list(range(len(points)))
    assert all(0 < len(batch.points) <= count and len(batch.body()) <= size for batch in batches)
    assert splitter.rest() is None


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(POINTS, st.integers(1, 9), st.integers(30 + FRAME_BYTES, 120))
def test_no_message_could_have_taken_the_next_point(points: list[bytes], count: int, size: int) -> None:
    splitter = Splitter(count, size)
    batches = [(full, point) for point in points if (full := splitter.add(point))]
    for batch, following in batches:
        assert len(batch.points) == count or len(batch.body()) + 1 + len(following) > size


def test_a_point_that_no_message_can_hold_is_named() -> None:
    splitter = Splitter(10, FRAME_BYTES + 4)
    assert splitter.add(b"1234") is None
    with pytest.raises(InvalidPoint, match="max_message_bytes leaves 4") as caught:
        splitter.add(b"12345")
    assert caught.value.index == 1
    rest = splitter.rest()
    assert rest is not None
    assert rest.points == [b"1234"]
