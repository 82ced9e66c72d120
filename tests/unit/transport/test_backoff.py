from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from memq_amqp.backoff import doubled, jittered

SECONDS = st.floats(0.001, 60)


@given(first=SECONDS, most=SECONDS, failures=st.integers(1, 10_000))
def test_pauses_double_up_to_their_limit(first: float, most: float, failures: int) -> None:
    assert doubled(1, first, most) == min(first, most)
    now, later = doubled(failures, first, most), doubled(failures + 1, first, most)
    assert later in (2 * now, now, most)
    assert now <= later <= most
    assert now / 2 <= jittered(failures, first, most) <= now


def test_a_long_outage_is_no_overflow() -> None:
    assert doubled(10**9, 0.1, 5.0) == 5.0
