from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memq import InvalidPoint, InvalidRequest, Producer
from memq.deliver.upserts import Given, upserts
from memq.encode.arrow import PointTable, from_columns, split
from memq.encode.arrow.ids import alike
from memq.encode.columns import Columns
from memq_worker.pipeline.decode.arrow import decode_arrow
from memq_worker.pipeline.decode.expand import expanded
from memq_worker.pipeline.decode.points import decode_points

if TYPE_CHECKING:
    from memq.deliver.sender import Outgoing

pa = pytest.importorskip("pyarrow")

FLOATS = st.floats(width=16, allow_nan=False, allow_infinity=False)
PAYLOADS = st.dictionaries(st.sampled_from("abc"), st.integers(-5, 5) | st.text(max_size=3), max_size=3)
IDS = st.lists(st.integers(0, 2**64 - 1), max_size=40) | st.lists(st.uuids() | st.uuids().map(str), max_size=40)


class Frame:
    """What Polars, pandas and DuckDB have in common."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def table(rows: int = 3, **columns: Any) -> Any:
    every = {"id": pa.array(range(rows), pa.uint64()), "vector": vectors([[1.0, float(n)] for n in range(rows)])}
    return pa.table({name: column for name, column in (every | columns).items() if column is not None})


def vectors(rows: list[Any], kind: Any = None, size: int = 2) -> Any:
    return pa.array(rows, pa.list_(kind or pa.float32(), size))


def sent(source: Any, points: int = 100, size: int = 1 << 20) -> list[Any]:
    return list(split(PointTable.of(Frame(source)).wire(), points, size))


def read(source: Any) -> Any:
    (message,) = sent(source)
    return decode_arrow(message.body(), 1000)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.data(), IDS, st.integers(1, 9), st.sampled_from([np.float16, np.float32, np.float64, np.int32]), st.booleans()
)
def test_columns_say_as_arrow_what_they_say_as_json(
    data: st.DataObject, ids: list[Any], most: int, kind: Any, versioned: bool
) -> None:
    def column(of: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.lists(of, min_size=len(ids), max_size=len(ids)))

    matrix = np.array(column(st.lists(FLOATS, min_size=3, max_size=3)), dtype=np.float16).reshape(-1, 3).astype(kind)
    payloads = column(st.none() | PAYLOADS)
    versions = column(st.none() | st.integers(0, 2**53 - 1)) if versioned else None
    columns = Columns(ids, matrix, payloads, versions)
    assert alike(ids)
    as_json = list(columns.points())
    at = 0
    for message in split(from_columns(columns), most, 1000):
        assert message.positions == range(at, at + len(message.positions))
        assert len(message.positions) <= most
        assert len(message.body()) <= 1000
        part = as_json[at : message.positions.stop]
        assert decode_arrow(message.body(), most) == decode_points(b'{"points":[%b]}' % b",".join(part), most)
        at = message.positions.stop
    assert at == len(ids)


def test_messages_are_as_full_as_both_limits_let_them_be_whatever_the_batches_of_the_source() -> None:
    whole = pa.concat_tables([table(7), table(250), table(43)])
    assert [len(message.positions) for message in sent(whole)] == [100, 100, 100]
    limited = [len(message.positions) for message in sent(whole, size=2000)]
    assert sum(limited) == 300
    assert max(limited) < 100
    # Another row would not have fitted: 16 bytes, and what its buffers are padded to.
    assert all(len(message.body()) > 2000 - 128 for message in sent(whole, size=2000)[1:-1])
    with pytest.raises(InvalidPoint, match=r"points\[1\]: .* bytes as a message, max_message_bytes is 2000") as caught:
        sent(table(2, payload=pa.array(["{}", orjson.dumps({"a": "x" * 2000}).decode()])), size=2000)
    assert caught.value.index == 1


def test_other_columns_become_payload_and_empty_cells_are_left_out() -> None:
    given = table(
        2,
        version=pa.array([None, 7], pa.int32()),
        payload=pa.array(['{"deep": {"a": [1, null]}}', None]),
        text=["t", None],
        kind=pa.array(["note", "note"]).dictionary_encode(),
        __index_level_0__=[5, 6],
    )
    points = read(given)
    assert points.payloads == [{"deep": {"a": [1, None]}, "text": "t", "kind": "note"}, {"kind": "note"}]
    assert points.versions == [None, 7]
    as_json = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', None]))
    assert read(table(2, payload=as_json)).payloads == [{"a": 1}, None]
    assert read(table(2, payload=as_json, n=[1, 2])).payloads == [{"a": 1, "n": 1}, {"n": 2}]
    alone = read(table(2, payload=pa.array(['{"b":1,"a":2.50}', None])))
    assert alone.payloads == [{"b": 1, "a": 2.5}, None]


def outgoing(producer: Producer, points: Any = None, **columns: Any) -> list[Outgoing]:
    given = Given(points, **columns)
    return [part.outgoing for part in upserts("docs", given, producer._options)]  # pyright: ignore


def test_what_travels_as_arrow() -> None:
    def kinds(producer: Producer, points: Any = None, **columns: Any) -> list[str]:
        return [message.content_type.rpartition("/")[2] for message in outgoing(producer, points, **columns)]

    stream, many = "vnd.apache.arrow.stream", {"ids": range(150), "vectors": np.ones((150, 2))}
    assert kinds(Producer(), Frame(table(3))) == [stream]
    assert kinds(Producer(), **many) == [stream, stream]
    assert kinds(Producer(arrow=False), **many) == ["json", "json"]
    assert kinds(Producer(), ids=range(9), vectors=np.ones((9, 2))) == ["json"]
    assert kinds(Producer(), ids=range(40), vectors=[[1.0]] * 40) == ["json"]
    assert kinds(Producer(), ids=[1, str(uuid.uuid4())] * 20, vectors=np.ones((40, 2))) == ["json"]


@pytest.mark.parametrize("source", [{"points": table(3)}, {"points": [(n, [1.0, float(n)]) for n in range(3)]}])
def test_compressed_messages_are_what_workers_expand(source: dict[str, Any]) -> None:
    (plain,), (packed,) = outgoing(Producer(), **source), outgoing(Producer(compression="zstd"), **source)
    assert (plain.content_encoding, packed.content_encoding) == (None, "zstd")
    assert len(packed.body) < len(plain.body)
    assert expanded(packed.body, packed.content_encoding, len(plain.body)) == plain.body


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(16), pa.uuid()])
def test_ids_are_uuids_of_every_kind(kind: Any) -> None:
    ids = [uuid.uuid4() for _ in range(3)]
    values = [i.bytes for i in ids] if kind in (pa.binary(16), pa.uuid()) else [str(i).upper() for i in ids]
    assert read(table(id=pa.array(values, kind))).ids == list(map(str, ids))


@pytest.mark.parametrize(
    ("kind", "number"), [(pa.float64(), "f8"), (pa.int8(), "i1"), (pa.float32(), "f4"), (pa.float16(), "f2")]
)
@pytest.mark.parametrize("lists", [pa.list_, pa.large_list, lambda kind: pa.list_(kind, 2)])
def test_vectors_are_lists_of_every_kind_of_number(kind: Any, number: str, lists: Any) -> None:
    values = [np.asarray(row, number) for row in ([1, 2], [3, 4], [5, 6])]
    (message,) = sent(table(vector=pa.array(values, lists(kind))))
    assert [np.frombuffer(cast("bytes", v), "<f4").tolist() for v in decode_arrow(message.body(), 9).columns[""]] == [
        [1, 2],
        [3, 4],
        [5, 6],
    ]
    sent_as = pa.ipc.open_stream(message.body()).schema.field("vector").type.value_type
    assert sent_as == (pa.float16() if kind == pa.float16() else pa.float32())


def test_named_vectors_have_a_column_each_and_a_point_may_lack_one() -> None:
    some = pa.array([[1.0, 2.0, 3.0], None, [4.0, 5.0, 6.0]])
    points = read(table(vector=None, **{"vector.title": vectors([[0, 1]] * 3), "vector.text": some}))
    assert [v and np.frombuffer(v, "<f4").tolist() for v in points.columns["text"]] == [[1, 2, 3], None, [4, 5, 6]]
    assert len(points.columns["title"]) == 3


NAN = float("nan")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (pa.chunked_array([[1]]), "points: expected a table with the columns id and vector"),
        (table(id=None), "no column 'id'; there are vector"),
        (table(id=pa.array([1.0, 2.0, 3.0])), "column 'id' is double; ids are integers, or UUIDs"),
        (table(id=pa.array([1, -2, 3])), "points[1].id: an integer id has to be between"),
        (table(id=pa.array([1, None, 3])), "points[1].id: missing"),
        (table(id=pa.array(["a", "b", "c"])), "points[0].id: a string id has to be a UUID"),
        (table(vector=None), "no column 'vector'"),
        (table(vector=pa.array(["a", "b", "c"])), "column 'vector' is string; vectors are lists of numbers"),
        (table(vector=pa.array([["a"], ["b"], ["c"]])), "column 'vector' is list<item: string>"),
        (table(vector=vectors([[1, 2], None, [1, 2]])), "points[1].vector: missing"),
        (table(vector=vectors([[1, 2], [1, None], [1, 2]])), "points[1].vector: number 1 is missing"),
        (
            table(vector=pa.array([[1.0], [1.0], [1.0, 2.0]])),
            "points[2].vector: 2 dimensions, the vectors before it have 1",
        ),
        (table(vector=pa.array([[], [], []], pa.list_(pa.float32()))), "points[0].vector: empty"),
        (table(vector=vectors([[1, 2], [1, 2], [NAN, 2]])), "points[2].vector: number 0 is NaN"),
        (table(vector=vectors([[1, 2], [1, NAN], [1, 2]], pa.float16())), "points[1].vector: number 1 is NaN"),
        (
            table(vector=vectors([[1, 2], [1e39, 2], [1, 2]], pa.float64())),
            "points[1].vector: number 0 is infinite or too",
        ),
        (table(payload=pa.array([None, "[1]", None])), "points[1].payload: expected a JSON object, this is list"),
        (table(payload=pa.array([None, "{", None])), "points[1].payload: expected a JSON object, this is no JSON"),
        (
            table(payload=pa.array([None, '{"_version": 1}', None])),
            "points[1].payload: the key '_version' is memq's own",
        ),
        (table(payload=pa.array([1, 2, 3])), "column 'payload' is int64; payloads are structs, maps"),
        (table(raw=pa.array([b"x"] * 3)), "column 'raw' is binary, which JSON has no type for"),
        (table(version=pa.array([1.0, 2.0, 3.0])), "column 'version' is double; versions are integers"),
        (table(version=pa.array([None, -1, 3])), "points[1].version: expected an integer between"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_row_and_column(given: Any, told: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        sent(given)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (Columns([1, True, 3], np.ones((3, 2))), None),
        (Columns([1, -1, 3], np.ones((3, 2))), "points[1].id: an integer id"),
        (Columns([1, 2**64, 3], np.ones((3, 2))), "points[1].id: an integer id"),
        (Columns([str(uuid.uuid4()), "x", "y"], np.ones((3, 2))), "points[1].id: a string id"),
        (Columns([1, 2, 3], np.array([[1, 2], [3, NAN], [1, 2]])), "points[1].vector: number 1 is NaN"),
        (Columns([1, 2, 3], np.ones((3, 0))), "points[0].vector: empty"),
        (Columns([1, 2, 3], np.ones((3, 2)), [None, 5, None]), "points[1].payload: expected a dict, this is int"),
        (Columns([1, 2, 3], np.ones((3, 2)), None, [1, True, 2]), "points[1].version: expected an integer"),
    ],
)
def test_columns_are_refused_as_they_are_as_json(columns: Columns, told: str | None) -> None:
    if told is None:
        assert not alike(columns.ids)
        return
    with pytest.raises(InvalidPoint) as caught:
        list(from_columns(columns))
    assert told in str(caught.value)
    with pytest.raises(InvalidPoint) as as_json:
        list(columns.points())
    assert str(as_json.value) == str(caught.value)
