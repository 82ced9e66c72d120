from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError
from memq_worker.pipeline.delivery import epoch_seconds

MOMENT = 1_732_690_800


@pytest.mark.parametrize(
    "header",
    [
        MOMENT * 1000,
        float(MOMENT * 1000),
        str(MOMENT * 1000),
        datetime.fromtimestamp(MOMENT, UTC),
        datetime.fromtimestamp(MOMENT, timezone(timedelta(hours=5))),
    ],
)
def test_a_deadline_may_come_as_number_text_or_timestamp(header: Any) -> None:
    assert epoch_seconds(header) == MOMENT


@pytest.mark.parametrize(
    "header",
    [
        MOMENT,
        str(MOMENT),
        MOMENT * 10**6,
        MOMENT * 10**9,
        0,
        -MOMENT * 1000,
        float("nan"),
        float("inf"),
        True,
        "",
        "soon",
        "²" * 13,
        "9" * 5000,
        "1732690800000.0",
        b"1732690800000",
        [MOMENT * 1000],
        {"at": MOMENT},
    ],
)
def test_other_deadlines_are_refused_and_say_what_would_be_right(header: Any) -> None:
    with pytest.raises(MessageError, match="x-deadline: expected epoch milliseconds") as caught:
        epoch_seconds(header)
    assert caught.value.code is ErrorCode.INVALID
