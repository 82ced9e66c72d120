"""Lists of numbers have a reader of their own: it may say nothing, but never anything else than the other parser."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq_schemas import ErrorCode
from memq_schemas.vectors import MAX_DIMENSIONS
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode import lists
from memq_worker.pipeline.decode.checks import census
from memq_worker.pipeline.decode.points import decode_points
from tests.unit.worker.test_decode import body

USUAL = {"id": 1, "vector": [0.25, -1, 3e-7], "payload": {"text": "[a] \u00e9", "tags": [[1], {"n": None}]}}
WORDS = [b"[", b"]", b"{", b"}", b"[1]", b",1", b",", b'"', b":", b"1", b"-0", b"1e39", b"1e999"]
WORDS += [b"18446744073709551616", b"null", b"true", b'"a":1,', b'"id":2,', b'"version":7,', b'"payload":{},']
WORDS += [b"\\u005b", b"\\ud800", b"\xff"]


@contextmanager
def without_reader() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "_simdjson", None)
        yield


def verdict(raw: bytes) -> Any:
    try:
        return decode_points(raw, 100)
    except MessageError as error:
        return error.code, error.message, error.answer


def agreed(raw: bytes) -> bool:
    """Whether the reader took it."""
    ours = verdict(raw)
    with without_reader():
        assert ours == verdict(raw)
    first = lists.MAYBE_LISTS(raw, raw.find(lists.VECTOR_KEY))
    return first is not None and lists.read_lists(raw, 100, census(raw)[0]) is not None


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize(
    "point",
    [
        USUAL,
        {**USUAL, "version": 2**53 - 1},
        {**USUAL, "payload": None, "version": None},
        {"id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "vector": {"a": [1], "\u00e9": [2.5, 3]}},
        {"id": 1, "vector": [16777217, 2**63, 1e-46, 123456789.123456789]},
    ],
)
def test_bodies_of_the_usual_form_are_read(point: dict[str, Any], separators: tuple[str, str]) -> None:
    assert agreed(json.dumps({"points": [point, {**point, "id": 2}]}, separators=separators).encode())


@pytest.mark.parametrize(
    "raw",
    [
        b'{"points":[{"id":1,"vector":[[1],[2]]}]}',
        b'{"points":[{"id":1,"vector":[1,[2,3],[]]}]}',
        b'{"points":[{"id":1,"vector":[1,[2,3],[]],"payload":{"text":"\\u005b\\u005b"}}]}',
        b'{"points":[{"id":1,"vector":[[1]],"payload":{"a":"\\u005b"}}]}',
        b'{"points":[{"id":1,"vector":[1e39]}]}',
        b'{"points":[{"id":1,"vector":[true]}]}',
        b'{"points":[{"id":1,"vector":[1],"version":false}]}',
        b'{"points":[{"id":1,"vector":[1],"version":1.0}]}',
        b'{"points":[{"id":true,"vector":[1]}]}',
        b'{"points":[{"id":1,"vector":[1],"payload":[]}]}',
        b'{"points":[{"id":1,"vector":[1],"vector":[2]}]}',
        b'{"points":[{"id":1,"vector":[1],"payload":{"a":1,"a":2}}]}',
        b'{"points":[{"id":1,"vector":[1],"payload":{"b":{"a":1,"a":2}}}]}',
        b'{"points":[{"id":1,"vector":{"a":[1],"a":[2]}}]}',
        b'{"points":[{"id":1,"vector":{}}]}',
        b'{"points":[{"id":1,"vector":[]}]}',
        b'{"points":[{"id":1,"vector":[1]}],"points":[]}',
        b'{"points":[{"id":1,"vector":[1],"other":2}]}',
        b'\xef\xbb\xbf{"points":[{"id":1,"vector":[1]}]}',
        b'{"points":[{"id":1,"vector":[1],"payload":{"n":18446744073709551615}}]}',
        b'{"points":[{"id":1,"vector":[1],"payload":{"n":18446744073709551616}}]}',
    ],
)
def test_what_is_unusual_gets_the_verdict_of_the_other_parser(raw: bytes) -> None:
    agreed(raw)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("named", [False, True])
def test_a_vector_of_too_many_numbers_gets_the_verdict_of_the_other_parser(index: int, named: bool) -> None:
    points = [{"id": n, "vector": {"a": [1], "b": [1]} if named else [1]} for n in range(3)]
    long = [1] * (MAX_DIMENSIONS + 1)
    points[index]["vector"] = {"a": [1], "b": long} if named else long
    raw = json.dumps({"points": points}).encode()
    found = verdict(raw)
    assert (found[0], f"points[{index}].vector" in found[1]) == (ErrorCode.INVALID_VECTOR, True)
    with without_reader():
        assert found == verdict(raw)


def test_a_long_body_does_not_stay_in_the_parser() -> None:
    large = json.dumps({"points": [{"id": n, "vector": [0.5] * 20_000} for n in range(30)]}).encode()
    assert len(large) > lists._KEPT_BYTES
    assert agreed(large)


@pytest.mark.parametrize("number", [1e37, 3.4e38, 3.5e38, 1e39, -1e39, 1e300])
@pytest.mark.parametrize("dimensions", [2, 9000])
def test_numbers_that_float32_hardly_holds(number: float, dimensions: int) -> None:
    agreed(json.dumps({"points": [{"id": 1, "vector": [0.5] * (dimensions - 1) + [number]}]}).encode())


@given(body)
def test_any_body(value: Any) -> None:
    agreed(json.dumps(value).encode())


@given(st.integers(0, 2**32), st.lists(st.tuples(st.floats(0, 1), st.sampled_from(WORDS)), min_size=1, max_size=3))
def test_a_usual_body_with_something_in_it(seed: int, words: list[tuple[float, bytes]]) -> None:
    points = [{**USUAL, "id": n, "vector": [random.Random(seed + n).gauss(0, 1) for _ in range(3)]} for n in range(2)]
    raw = json.dumps({"points": points}).encode()
    for place, word in words:
        at = int(place * len(raw))
        raw = raw[:at] + word + raw[at:]
    agreed(raw)
