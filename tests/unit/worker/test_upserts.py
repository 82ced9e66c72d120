"""The bytes of an upsert, read back by Qdrant's own classes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import grpc
from qdrant_client.conversions.conversion import payload_to_grpc

from memq_worker.pipeline.store import PointsBatch
from memq_worker.qdrant.encode import newer_only
from memq_worker.qdrant.filters import point_id
from memq_worker.qdrant.upserts import upsert_request

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(["x" * 127, "é" * 9000])
value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=4,
)
identifier = st.sampled_from([0, 127, 128, 2**14 - 1, 2**14, 2**64 - 1]) | st.uuids().map(str)
numbers = st.sampled_from([1, 2, 40, 5000]).map(lambda size: np.arange(size, dtype="<f4").tobytes())
vectors = st.one_of(
    st.fixed_dictionaries({"": numbers}), st.dictionaries(text.filter(bool), numbers, min_size=1, max_size=2)
)
versions = st.none() | st.sampled_from([0, 1, 2**53 - 1])
point = st.tuples(identifier, vectors, st.none() | st.dictionaries(text, value, max_size=4), versions)


def batch(points: list[Any], *, versioned: bool) -> PointsBatch:
    names = {name for _, own, _, _ in points for name in own}
    return PointsBatch(
        [each for each, _, _, _ in points],
        {name: [own.get(name) for _, own, _, _ in points] for name in names},
        [payload for _, _, payload, _ in points],
        [version for _, _, _, version in points] if versioned else None,
    )


def dense(raw: bytes) -> grpc.Vector:
    return grpc.Vector(dense=grpc.DenseVector(data=np.frombuffer(raw, "<f4").tolist()))


def by_messages(collection: str, points: list[Any], *, versioned: bool) -> Any:
    request: Any = grpc.UpsertPoints(collection_name=collection, wait=True)
    for each, own, payload, version in points:
        marked = {**(payload or {}), **({"_version": version} if versioned and version is not None else {})}
        named = {name: dense(raw) for name, raw in own.items()}
        several = grpc.Vectors(vectors=grpc.NamedVectors(vectors=named))
        one = grpc.Vectors(vector=named[""]) if "" in named else several
        request.points.append(grpc.PointStruct(id=point_id(each), payload=payload_to_grpc(marked), vectors=one))
    if versioned:
        request.update_filter.MergeFromString(newer_only([p[0] for p in points], [p[3] for p in points]))
    return request


@given(st.lists(point, min_size=1, max_size=3), st.booleans())
def test_the_bytes_are_those_of_the_messages(points: list[Any], versioned: bool) -> None:
    written = upsert_request("docs", batch(points, versioned=versioned))
    assert grpc.UpsertPoints.FromString(written) == by_messages("docs", points, versioned=versioned)


def test_text_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        upsert_request("docs", batch([(1, {"": b"\0\0\0\0"}, {"a": "\ud800"}, None)], versioned=False))
