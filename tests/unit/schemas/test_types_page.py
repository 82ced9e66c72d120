"""docs/reference/types.md says what happens, row by row."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from memq.encode.arrow import PointTable, split
from memq.encode.points import PointJson, payload_json
from memq.errors import InvalidPoint, InvalidRequest
from memq_schemas.json_values import exact_json, json_object
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.arrow import decode_arrow
from memq_worker.pipeline.decode.points import decode_points
from tests.unit.schemas.types import ARROW, JSON, NUMPY, PYTHON, TABLES, Row, line

PAGE = Path("docs/reference/types.md").read_text("utf-8")
# What the wire takes and a producer refuses.
ON_THE_WIRE = {"binary of every kind": '"eA=="', "duration": '"P1D"'}


@pytest.mark.parametrize("title", TABLES)
def test_the_page_has_these_rows_and_no_others(title: str) -> None:
    section = re.split(r"\n## ", PAGE.partition(f"\n## {title}\n")[2])[0]
    rows = [text for text in section.splitlines() if text.startswith("| ")][1:]
    assert rows == [line(row) for row in TABLES[title]]


def stored(row: Row) -> str:
    """The value as the worker has it, after the way through the producer."""
    table = pa.table({"id": [1], "vector": [[1.0]], "x": row.value})
    (message,) = split(PointTable.of(table).wire(), 10, 1 << 20)
    (payload,) = decode_arrow(message.body(), 10).payloads
    return orjson.dumps(payload["x"]).decode() if payload else "left out"


@pytest.mark.parametrize("row", ARROW, ids=line)
def test_an_arrow_column(row: Row) -> None:
    if row.json is None:
        with pytest.raises(InvalidRequest, match=r"'x'|points.0..x"):
            stored(row)
    else:
        assert stored(row) == row.json


@pytest.mark.parametrize("row", ARROW, ids=line)
def test_the_same_in_a_struct_on_the_wire(row: Row) -> None:
    struct = pa.StructArray.from_arrays([row.value], names=["x"])
    given = pa.table({"id": [1], "vector": pa.array([[1.0]], pa.list_(pa.float32(), 1)), "payload": struct})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, given.schema) as stream:
        stream.write_table(given)
    body = sink.getvalue().to_pybytes()
    expected = ON_THE_WIRE.get(row.kind, row.json)
    if row.kind == "dictionary":
        # Its values are a message of their own, which workers do not read.
        with pytest.raises(MessageError, match="not supported"):
            decode_arrow(body, 10)
    elif expected is None:
        with pytest.raises(MessageError) as caught:
            decode_arrow(body, 10)
        assert caught.value.code == "invalid_payload"
    else:
        (payload,) = decode_arrow(body, 10).payloads
        assert payload is not None
        assert orjson.dumps(payload["x"]).decode() == ("null" if expected == "left out" else expected)


@pytest.mark.parametrize("row", PYTHON + NUMPY, ids=line)
def test_a_python_value(row: Row) -> None:
    payload = {"deep": [{"x": row.value}]}
    if row.json is None:
        with pytest.raises(InvalidPoint, match=r"points.0..payload: deep.0..x"):
            PointJson().row(0, (1, [1.0], payload))
    else:
        assert orjson.loads(payload_json(payload)) == {"deep": [{"x": orjson.loads(row.json)}]}


@pytest.mark.parametrize("row", JSON, ids=line)
def test_json_text(row: Row) -> None:
    text = b'{"x":%b}' % row.value
    if row.json is None:
        with pytest.raises(ValueError, match=r".*"):
            json_object(exact_json(text))
        with pytest.raises(MessageError):
            decode_points(b'{"points":[{"id":1,"vector":[1.0],"payload":%b}]}' % text, 10)
    else:
        assert orjson.dumps(json_object(exact_json(text))["x"]).decode() == row.json
