from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq_schemas import ErrorCode
from memq_schemas.multivectors import MAX_ROWS, to_matrix
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.vectors import columns_of
from memq_worker.pipeline.store import RowsCell

ROW = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=3)


def cell(rows: list[Any]) -> RowsCell:
    found = columns_of([rows], 2**20)[""][0]
    assert isinstance(found, RowsCell)
    return found


def encoded(row: list[float]) -> str:
    return base64.b64encode(np.array(row, "<f4").tobytes()).decode()


@given(rows=st.lists(ROW, min_size=1, max_size=8), text=st.booleans())
def test_rows_are_packed_as_one_by_one_or_refused_by_the_first_of_another_length(
    rows: list[list[float]], text: bool
) -> None:
    given: list[Any] = [encoded(row) for row in rows] if text else rows
    odd = next((at for at, row in enumerate(rows) if len(row) != len(rows[0])), None)
    if odd is None:
        assert bytes(cell(given).numbers) == b"".join(np.array(row, "<f4").tobytes() for row in rows)
        assert cell(given).row_bytes == 4 * len(rows[0])
        assert to_matrix(given).tolist() == rows
        return
    with pytest.raises(MessageError) as caught:
        cell(given)
    assert caught.value.message.startswith(f"points[0].vector[{odd}]: ")
    with pytest.raises(ValueError, match=f"^row {odd}: "):
        to_matrix(given)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("bad", [1e39, "!!!!!!!!", [], None, 0.5, [1.0, 2.0]])
def test_the_last_of_many_rows_is_named(bad: Any, text: bool) -> None:
    row: Any = encoded([1.0]) if text else [1.0]
    rows = [row] * 1000 + [[bad] if bad == 1e39 else bad]
    with pytest.raises(MessageError) as caught:
        cell(rows)
    assert caught.value.code is ErrorCode.INVALID_VECTOR
    assert caught.value.message.startswith("points[0].vector[1000]: ")


def test_more_rows_than_the_limit_are_refused_before_they_are_packed() -> None:
    with pytest.raises(MessageError) as caught:
        cell([[1.0]] * (MAX_ROWS + 1))
    assert caught.value.code is ErrorCode.INVALID_VECTOR
    assert str(MAX_ROWS) in caught.value.message
    with pytest.raises(ValueError, match=str(MAX_ROWS)):
        to_matrix([[1.0]] * (MAX_ROWS + 1))
    assert cell([[1.0]] * MAX_ROWS).row_bytes == 4
