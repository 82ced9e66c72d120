from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq.dead import Attempts, DeadLetter, Selection, attempts, duration

NOW = datetime(2026, 5, 6, 7, 8, tzinfo=UTC)
LETTER = DeadLetter(
    position=3,
    routing_key="upsert.docs",
    operation="upsert",
    collection="docs",
    code="wrong_dimension",
    stage="decode",
    reason="",
    attempts=2,
    failed_at=NOW - timedelta(hours=1),
    first_failed_at=None,
    queue="memq.write",
    worker="w",
    message_id="m",
    user_id=None,
    correlation_id="c",
    size=10,
    properties={},
    headers={},
)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(sorted(UNITS))), min_size=1, max_size=5))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert duration(text).total_seconds() == sum(number * UNITS[unit] for number, unit in parts)


@given(st.text(alphabet="0123456789.smhdw+- ٣²", max_size=8))
def test_any_text_is_a_duration_or_refused_with_what_would_be_right(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert duration(text) >= timedelta()


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2 h", "2h ago", "1e3s", "1.s", "٣h", "2y"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="90s, 15m, 2h"):
        duration(text)


def test_longer_than_there_is_time() -> None:
    with pytest.raises(ValueError, match="exceeds the maximum"):
        duration("999999999w")


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 2 * 10**6))
def test_attempts_are_one_number_a_range_or_open(one: int, other: int, number: int) -> None:
    least, most = sorted((one, other))
    assert (number in attempts(f"{least}")) == (number == least)
    assert (number in attempts(f"{least}+")) == (number >= least)
    assert (number in attempts(f"{least}-{most}")) == (least <= number <= most)


@pytest.mark.parametrize(
    ("text", "told"), [("", "3, 3"), ("x", "3, 3"), ("-3", "3, 3"), ("3-", "3, 3"), ("5-2", "5-2")]
)
def test_what_are_no_attempts(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        attempts(text)


FITTING = Selection(
    codes=frozenset({"x", "wrong_dimension"}),
    operations=frozenset({"upsert"}),
    collections=frozenset({"docs"}),
    queues=frozenset({"memq.write"}),
    ids=frozenset({"c"}),
    attempts=Attempts(2, 2),
    older_than=timedelta(minutes=59),
    newer_than=timedelta(minutes=61),
)


def test_every_given_field_has_to_fit() -> None:
    assert Selection().takes(LETTER, NOW)
    assert FITTING.takes(LETTER, NOW)
    other = frozenset({"other"})
    for spoilt in (
        replace(FITTING, codes=other),
        replace(FITTING, operations=other),
        replace(FITTING, collections=other),
        replace(FITTING, queues=other),
        replace(FITTING, ids=other),
        replace(FITTING, attempts=Attempts(3)),
        replace(FITTING, older_than=timedelta(minutes=61)),
        replace(FITTING, newer_than=timedelta(minutes=59)),
    ):
        assert not spoilt.takes(LETTER, NOW), spoilt
    assert replace(FITTING, ids=frozenset({"m"})).takes(LETTER, NOW)


def test_without_a_time_a_letter_is_neither_old_nor_new() -> None:
    timeless = replace(LETTER, failed_at=None)
    assert Selection().takes(timeless, NOW)
    assert not Selection(older_than=timedelta()).takes(timeless, NOW)
    assert not Selection(newer_than=timedelta(days=10**4)).takes(timeless, NOW)
