from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq_schemas import Query
from memq_worker.qdrant import reads

NUMBERS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=300)
QUERIES = st.fixed_dictionaries(
    {"vector": NUMBERS},
    optional={
        "limit": st.integers(1, 10_000),
        "offset": st.integers(0, 1_000),
        "score_threshold": st.floats(-10, 10),
        "with_payload": st.booleans() | st.lists(st.text("abc", min_size=1), max_size=3),
        "with_vector": st.sampled_from([True, False, "base64"]),
        "using": st.none() | st.text("abc", min_size=1),
    },
)


@given(QUERIES, st.sampled_from(["docs", "other"]))
def test_a_request_made_from_kept_bytes_is_the_one_made_field_by_field(fields: dict[str, Any], collection: str) -> None:
    query = Query.model_validate(fields)
    fast = reads.query_request(collection, query)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reads, "_RARE", frozenset({"vector"}))
        assert reads.query_request(collection, query) == fast
