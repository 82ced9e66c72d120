from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.bodies import Limits, decode
from memq_worker.pipeline.decode.checks import check_unique, count_keys
from tests.unit.worker.fakes import FakeLink, delivery

LIMITS = Limits(max_body_bytes=1_000_000, max_points=100)
# Colons, quotes and backslashes are what could deceive the counting.
TEXTS = st.text(st.sampled_from('a":\\ \té'), max_size=6)
PAIRS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.lists(st.tuples(TEXTS, inner), max_size=4).map(tuple),
    max_leaves=12,
)
SPACES = st.sampled_from(["", " ", "\n", "\t ", "  "])


def written(value: Any, space: str) -> str:
    """JSON in which a tuple of pairs is an object, with its keys as often as they come."""
    if isinstance(value, tuple):
        pairs = (f"{json.dumps(name)}{space}:{space}{written(inner, space)}" for name, inner in value)
        return "{" + f"{space},{space}".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(inner, space) for inner in value) + "]"
    return json.dumps(value)


def twice(value: Any) -> bool:
    if isinstance(value, tuple):
        names = [name for name, _ in value]
        return len(set(names)) < len(names) or any(twice(inner) for _, inner in value)
    return isinstance(value, list) and any(map(twice, value))


@settings(max_examples=400, deadline=None)
@given(value=st.lists(st.tuples(TEXTS, PAIRS), max_size=5).map(tuple), space=SPACES)
def test_a_key_twice_is_found_and_nothing_else_is_taken_for_one(value: Any, space: str) -> None:
    body = written(value, space).encode()
    keys = count_keys(orjson.loads(body))
    if twice(value):
        with pytest.raises(MessageError) as caught:
            check_unique(body, keys)
        assert caught.value.code is ErrorCode.MALFORMED
    else:
        check_unique(body, keys)


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("upsert.docs", b'{"points":[],"points":[{"id":1,"vector":[1]}]}'),
        ("upsert.docs", b'{"points":[{"id":1,"id":2,"vector":[1]}]}'),
        ("upsert.docs", b'{"points":[{"id":1,"vector":[1],"payload":{"a":1,"a":2}}]}'),
        ("upsert.docs", b'{"points":[{"id":1,"vector":[1],"payload":{"a":"x:y","b":{"c":1,"c":2}}}]}'),
        ("upsert.docs", b'{"points":[{"id":1,"vector":[1],"payload":null,"payload":{}}]}'),
        ("upsert.docs", b'{"points":[{"id":1,"vector":{"a":[1],"a":[2]}}]}'),
        ("upsert.docs", b'{"points":[{"id":1,"vector":[1],"version":1,"version":2}]}'),
        ("upsert.docs", b'{"points":[{"id":1,"vector":[1],"payload":{"a":1,"\\u0061":2}}]}'),
        ("delete.docs", b'{"ids":[1],"ids":[2]}'),
        ("query.docs", b'{"vector":[1],"limit":1,"limit":2}'),
        ("count.docs", b'{"filter":{"must":[{"key":"a","key":"b","match":{"value":1}}]}}'),
    ],
)
def test_a_body_that_says_something_twice_is_refused(key: str, body: bytes) -> None:
    with pytest.raises(MessageError, match="a key twice in one object") as caught:
        decode(delivery(FakeLink(), 1, body, key), LIMITS)
    assert caught.value.code is ErrorCode.MALFORMED


def test_what_looks_like_a_key_is_none() -> None:
    body = rb'{"points" : [{"id":1,"vector":[1],"payload":{"a":"b\":1","c":":","d\\":[{"a":2},{"a":"\\\":"}]}}]}'
    decode(delivery(FakeLink(), 1, body, "upsert.docs"), LIMITS)
