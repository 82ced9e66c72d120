import base64
import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq_schemas.vectors import BASE64_PATTERN, FloatArray, float32_bytes, to_array, to_base64
from tests.unit.schemas.strategies import FLOAT32

NUMBERS = st.lists(FLOAT32, min_size=1, max_size=40)


def test_the_worked_example_of_the_readme():
    assert to_base64([1.0, 0.5]) == "AACAPwAAAD8="
    assert float32_bytes("AACAPwAAAD8=") == bytes.fromhex("0000803f0000003f")
    assert to_array("AACAPwAAAD8=").tolist() == [1.0, 0.5]


@given(NUMBERS)
def test_base64_keeps_every_bit(numbers: list[float]):
    text = to_base64(numbers)
    assert float32_bytes(text) == struct.pack(f"<{len(numbers)}f", *numbers)
    assert to_array(text).tobytes() == to_array(numbers).tobytes()


@given(NUMBERS)
def test_the_documented_pattern_takes_what_we_write(numbers: list[float]):
    assert re.search(BASE64_PATTERN, to_base64(numbers))


@given(st.binary(min_size=1, max_size=60))
def test_the_documented_pattern_is_whole_float32_numbers(raw: bytes):
    text = base64.b64encode(raw).decode()
    assert bool(re.search(BASE64_PATTERN, text)) == (len(raw) % 4 == 0)
    if len(raw) % 4:
        with pytest.raises(ValueError, match="multiple of 4"):
            float32_bytes(text)
    else:
        assert float32_bytes(text) == raw


@given(st.text())
def test_any_text_is_bytes_of_float32_or_a_value_error(text: str):
    try:
        raw = float32_bytes(text)
    except ValueError as error:
        reason = str(error)
    else:
        assert base64.b64encode(raw).decode()[: len(text) - 3] == text[: len(text) - 3]
        return
    assert len(text) < 4 or text not in reason


@pytest.mark.parametrize(
    "text",
    ["AACAPwAAAD8", "AACAPw==AACAPw==", "AACA PwAAAD8=", "AACAPwAAAD8=\n", "AACAP-AAAD8=", "é" * 8, "\ud800" * 8, ""],
    ids=["unpadded", "joined", "space", "newline", "url-safe alphabet", "not ASCII", "surrogates", "empty"],
)
def test_what_is_not_strict_base64_is_refused(text: str):
    with pytest.raises(ValueError, match="base64"):
        float32_bytes(text)


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        ([], "empty"),
        ([float("nan")], "not finite"),
        ([1.0, float("inf"), 2.0], "not finite"),
        ([1e39], "not finite"),
        (to_base64([float("nan")]), "not finite"),
        (to_base64([float("-inf")]), "not finite"),
    ],
)
def test_vectors_without_finite_numbers_are_refused(vector: list[float] | str, reason: str):
    with pytest.raises(ValueError, match=reason):
        to_array(vector)


@pytest.mark.parametrize("array", [np.arange(6, dtype="<f8")[::2], np.arange(3, dtype=">f4"), np.arange(3)])
def test_any_numpy_array_is_written_as_little_endian_float32(array: FloatArray):
    assert float32_bytes(to_base64(array)) == np.asarray(array, dtype="<f4").tobytes()
