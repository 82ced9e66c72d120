from __future__ import annotations

from typing import Any

import pytest

from memq_schemas import headers
from memq_schemas.properties import Properties
from memq_worker.pipeline.delivery import Deadlines

NOW = 1_800_000_000.0


def read(
    late: float,
    expiration: str | None,
    more: dict[str, Any] | None = None,
    *,
    first: bool = True,
    broker: bool = False,
) -> tuple[float | None, float]:
    given = {headers.DEADLINE: int((NOW - late) * 1000), **(more or {})}
    return Deadlines(broker_timestamp=broker).of(Properties(headers=given, expiration=expiration), first=first, now=NOW)


def test_a_deadline_that_the_broker_says_is_not_over_is_counted_from_the_arrival() -> None:
    assert read(7200, "20000") == (NOW + 20, pytest.approx(7200))


@pytest.mark.parametrize(
    ("late", "expiration", "first"),
    [
        (-5, "20000", True),  # not passed
        (0.9, "20000", True),  # passed on its way
        (7200, None, True),  # nothing says how long it may wait
        (7200, "soon", True),
        (7200, "", True),
        (7200, "20000", False),  # it may have waited with another worker
    ],
)
def test_what_proves_no_skew_keeps_its_deadline(late: float, expiration: str | None, first: bool) -> None:
    assert read(late, expiration, first=first) == (pytest.approx(NOW - late), 0)


def test_the_brokers_timestamp_counts_where_it_can_be_trusted() -> None:
    stamp = {headers.BROKER_TIMESTAMP: int((NOW - 15) * 1000)}
    assert read(7200, "20000", stamp, broker=True)[0] == NOW + 5
    assert read(7200, "20000", stamp)[0] == NOW + 20
    assert read(7200, "20000", {headers.BROKER_TIMESTAMP: "x"}, broker=True)[0] == NOW + 20


def test_no_deadline() -> None:
    assert Deadlines().of(Properties(expiration="20000"), first=True, now=NOW) == (None, 0)
