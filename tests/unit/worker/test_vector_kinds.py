"""Sparse vectors and multivectors from a JSON body to the bytes that Qdrant gets."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import grpc

from memq_worker.pipeline.decode.points import decode_points
from memq_worker.qdrant.upserts import upsert_request

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
index = st.sampled_from([0, 1, 127, 128, 2**14 - 1, 2**14, 2**21, 2**28, 2**32 - 1]) | st.integers(0, 2**32 - 1)


def text(kind: str, numbers: Any) -> str:
    return base64.b64encode(np.array(numbers, kind).tobytes()).decode()


@st.composite
def dense(draw: st.DrawFn) -> tuple[Any, Any]:
    """A vector on the wire, and as Qdrant's message."""
    numbers = draw(st.lists(floats, min_size=1, max_size=4))
    return _either(draw, "<f4", numbers), grpc.Vector(dense=grpc.DenseVector(data=numbers))


@st.composite
def sparse(draw: st.DrawFn) -> tuple[Any, Any]:
    indices = draw(st.lists(index, max_size=5, unique=True))
    values = draw(st.lists(floats, min_size=len(indices), max_size=len(indices)))
    wire = {"indices": _either(draw, "<u4", indices), "values": _either(draw, "<f4", values)}
    return wire, grpc.Vector(sparse=grpc.SparseVector(indices=indices, values=values))


@st.composite
def rows(draw: st.DrawFn) -> tuple[Any, Any]:
    size = draw(st.integers(1, 3))
    matrix = draw(st.lists(st.lists(floats, min_size=size, max_size=size), min_size=1, max_size=4))
    wire = [text("<f4", row) for row in matrix] if draw(st.booleans()) else matrix
    vectors = [grpc.DenseVector(data=row) for row in matrix]
    return wire, grpc.Vector(multi_dense=grpc.MultiDenseVector(vectors=vectors))


def _either(draw: st.DrawFn, kind: str, numbers: list[Any]) -> Any:
    return text(kind, numbers) if draw(st.booleans()) else numbers


one = dense() | sparse() | rows()
named = st.dictionaries(st.sampled_from(["", "a", "é", "indices"]), one, min_size=1, max_size=4)
point = one.map(lambda vector: {"": vector}) | named


@given(st.lists(point, min_size=1, max_size=5), st.booleans())
def test_vectors_of_every_kind_reach_the_store_as_they_were_sent(points: list[dict[str, Any]], alone: bool) -> None:
    def wire(vectors: dict[str, Any]) -> Any:
        return (
            vectors[""][0] if alone and vectors.keys() == {""} else {name: sent for name, (sent, _) in vectors.items()}
        )

    body = {"points": [{"id": number, "vector": wire(vectors)} for number, vectors in enumerate(points)]}
    request: Any = grpc.UpsertPoints.FromString(upsert_request("docs", decode_points(json.dumps(body).encode(), 10)))
    for got, vectors in zip(request.points, points, strict=True):
        expected = {name: message for name, (_, message) in vectors.items()}
        if expected.keys() == {""}:
            assert got.vectors.vector == expected[""]
        else:
            assert dict(got.vectors.vectors.vectors) == expected
