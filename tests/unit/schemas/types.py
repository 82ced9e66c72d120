"""The rows of docs/reference/types.md: what goes in, and the JSON that comes out or None where it is refused."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass
from decimal import Decimal as D
from typing import Any

import numpy as np
import pyarrow as pa

NAN, INF = float("nan"), float("inf")
NOON = dt.datetime(2026, 1, 2, 12, 0, 0, 500_000)
NANOSECONDS = 1_767_355_200_123_456_789
UUID = uuid.UUID(int=7)


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Offer:
    price: float


@dataclass(frozen=True)
class Row:
    kind: str
    value: Any
    """What goes in; for Arrow a column of one row."""
    says: str
    """The value as people write it."""
    json: str | None
    why: str = ""


def arrow(kind: Any, value: Any, json: str | None, why: str = "", name: str | None = None) -> Row:
    column = value if isinstance(value, pa.Array) else pa.array([value], kind)
    says = next(iter(column.cast(pa.string()).to_pylist())) if pa.types.is_decimal(column.type) else str(value)
    return Row(name or str(kind), column, says, json, why)


def runs() -> Any:
    return pa.RunEndEncodedArray.from_arrays([1], pa.array(["a"]))


def union() -> Any:
    return pa.UnionArray.from_sparse(pa.array([1], pa.int8()), [pa.array([1]), pa.array(["a"])])


ARROW = [
    Row("null", pa.nulls(1), "null", "left out"),
    arrow(pa.bool_(), True, "true"),
    arrow(pa.int64(), -(2**63), "-9223372036854775808", name="int8, int16, int32, int64"),
    arrow(pa.uint64(), 2**63 - 1, "9223372036854775807", name="uint8, uint16, uint32, uint64"),
    arrow(pa.uint64(), 2**63, None, "Qdrant's integers are signed and have 64 bits"),
    arrow(pa.float64(), 0.1, "0.1", name="double"),
    Row("float", pa.array([0.1], pa.float32()), "0.1", "0.10000000149011612", "the double that equals the float"),
    Row("halffloat", pa.array([np.float16(0.1)], pa.float16()), "0.1", "0.0999755859375"),
    arrow(pa.float64(), NAN, "null", name="double"),
    arrow(pa.float64(), INF, None, "JSON has no infinity", name="double"),
    arrow(pa.decimal128(38, 0), D(2**53 + 1), "9007199254740993", "no decimal places: an integer"),
    arrow(pa.decimal128(38, 0), D(2**63), None, "beyond 64 bits"),
    arrow(pa.decimal128(10, 2), D("3.30"), "3.3", "decimal places: the double that prints back as the same number"),
    arrow(pa.decimal256(50, 20), D("1.00000000000000000001"), None, "no double prints back as it"),
    arrow(pa.string(), "é", '"é"', name="string, large_string, string_view"),
    arrow(pa.binary(), b"x", None, "store base64 text, or leave the column out", name="binary of every kind"),
    arrow(pa.date32(), dt.date(2026, 1, 2), '"2026-01-02"', name="date32, date64"),
    Row("date32, date64", pa.array([2**31 - 1], pa.int32()).view(pa.date32()), "infinity", None, "years 1 to 9999"),
    arrow(pa.timestamp("us"), NOON, '"2026-01-02T12:00:00.500000+00:00"', "no zone: read as UTC", "timestamp"),
    Row(
        "timestamp with a zone",
        pa.array([1_767_350_000_000], pa.timestamp("ms", "Europe/Zurich")),
        "2026-01-02 11:33:20+01:00",
        '"2026-01-02T10:33:20+00:00"',
        "the same instant in UTC",
    ),
    Row(
        "timestamp[ns]",
        pa.array([NANOSECONDS], pa.timestamp("ns")),
        "2026-01-02 12:00:00.123456789",
        '"2026-01-02T12:00:00.123456789+00:00"',
        "nine digits only where six do not suffice",
    ),
    Row("timestamp", pa.array([2**62], pa.timestamp("s")), "in the year 146,138,514,283", None, "years 1 to 9999"),
    arrow(pa.time32("s"), dt.time(1, 2, 3), '"01:02:03"', name="time32"),
    Row("time64[ns]", pa.array([1], pa.time64("ns")), "00:00:00.000000001", '"00:00:00.000000001"'),
    arrow(pa.duration("us"), dt.timedelta(1), None, "store a number of seconds", name="duration"),
    Row("month_day_nano_interval", pa.array([(1, 2, 3)], pa.month_day_nano_interval()), "1 month", None, "as above"),
    arrow(pa.list_(pa.int8()), [1, None], "[1,null]", name="list of every kind"),
    arrow(pa.struct([("a", pa.int8())]), {"a": None}, '{"a":null}', name="struct"),
    arrow(pa.map_(pa.string(), pa.int8()), [("a", 1)], '{"a":1}', name="map with text keys"),
    arrow(pa.map_(pa.string(), pa.int8()), [("a", 1), ("a", 2)], None, "a key twice", name="map with text keys"),
    arrow(pa.map_(pa.int8(), pa.int8()), [(1, 2)], None, "keys of objects are text", name="map with other keys"),
    Row("dictionary", pa.array(["a"]).dictionary_encode(), "a", '"a"', "as its values"),
    Row("run_end_encoded", runs(), "a", '"a"', "as its values"),
    Row("union", union(), "a", '"a"', "as its values"),
    Row("arrow.uuid", pa.array([UUID.bytes], pa.uuid()), str(UUID), f'"{UUID}"'),
    Row("arrow.bool8", pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8())), "true", "true"),
    Row(
        "arrow.json",
        pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}'])),
        '{"a":1}',
        '"{\\"a\\":1}"',
        "text; in the column `payload` an object",
    ),
    Row(
        "other extension types",
        pa.ExtensionArray.from_storage(pa.opaque(pa.int8(), "a", "b"), pa.array([1], pa.int8())),
        "1",
        "1",
        "as their storage",
    ),
]

PYTHON = [
    Row("None, pandas.NA, pandas.NaT", None, "None", "null"),
    Row("bool", True, "True", "true"),
    Row("int", 2**63 - 1, "2**63 - 1", "9223372036854775807"),
    Row("int", 2**63, "2**63", None, "Qdrant's integers are signed and have 64 bits"),
    Row("float", 0.1, "0.1", "0.1"),
    Row("float", NAN, "nan", "null"),
    Row("float", INF, "inf", None, "JSON has no infinity"),
    Row("Decimal", D("2024"), 'Decimal("2024")', "2024"),
    Row("Decimal", D("3.30"), 'Decimal("3.30")', "3.3"),
    Row(
        "Decimal", D("1.00000000000000000001"), 'Decimal("1.00000000000000000001")', None, "no double prints back as it"
    ),
    Row("str", "é", '"é"', '"é"'),
    Row("str", "\ud800", '"\\ud800"', None, "half of a surrogate pair is no text"),
    Row("bytes, bytearray, memoryview", b"x", 'b"x"', None, "store base64 text"),
    Row("date", dt.date(2026, 1, 2), "date(2026, 1, 2)", '"2026-01-02"'),
    Row(
        "datetime", NOON, "datetime(2026, 1, 2, 12, 0, 0, 500000)", '"2026-01-02T12:00:00.500000+00:00"', "no zone: UTC"
    ),
    Row(
        "datetime",
        NOON.replace(microsecond=0, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        "the same at +02:00, without a fraction",
        '"2026-01-02T12:00:00+02:00"',
        "the zone stays",
    ),
    Row("time", dt.time(1, 2, 3), "time(1, 2, 3)", '"01:02:03"'),
    Row("time with a zone", dt.time(1, tzinfo=dt.UTC), "time(1, tzinfo=UTC)", None, "give a datetime"),
    Row("timedelta", dt.timedelta(1), "timedelta(1)", None, "store a number of seconds"),
    Row("UUID", UUID, "UUID(int=7)", f'"{UUID}"'),
    Row("Enum", Colour.RED, 'Enum("red")', '"red"', "its value"),
    Row("list, tuple, deque", (1, [2]), "(1, [2])", "[1,[2]]"),
    Row("set, frozenset", {1}, "{1}", None, "a set has no order; give a list"),
    Row("dict, any Mapping", {"a": 1}, '{"a": 1}', '{"a":1}'),
    Row("dict", {1: 2}, "{1: 2}", None, "keys of objects are text"),
    Row("dataclass", Offer(1.5), "Offer(price=1.5)", '{"price":1.5}'),
    Row("complex, Fraction, other objects", 1j, "1j", None),
]

NUMPY = [
    Row("bool_", np.bool_(True), "bool_(True)", "true"),
    Row("int8 to int64, uint8 to uint64", np.uint64(7), "uint64(7)", "7"),
    Row("uint64", np.uint64(2**63), "uint64(2**63)", None, "Qdrant's integers are signed and have 64 bits"),
    Row("float64", np.float64(0.1), "float64(0.1)", "0.1"),
    Row("float32", np.float32(0.1), "float32(0.1)", "0.10000000149011612", "the double that equals the float"),
    Row("float16", np.float16(0.1), "float16(0.1)", "0.0999755859375"),
    Row("longdouble", np.longdouble(1.5), "longdouble(1.5)", "1.5", "refused if a double does not equal it"),
    Row("str_", np.str_("a"), 'str_("a")', '"a"'),
    Row("bytes_, void, complex", np.bytes_(b"a"), 'bytes_(b"a")', None),
    Row("datetime64 in days and longer", np.datetime64("2026-01-02"), "2026-01-02", '"2026-01-02"'),
    Row(
        "datetime64",
        np.datetime64("2026-01-02T12:00:00.123456789"),
        "2026-01-02T12:00:00.123456789",
        '"2026-01-02T12:00:00.123456789+00:00"',
    ),
    Row("datetime64", np.datetime64("NaT"), "NaT", "null"),
    Row("timedelta64", np.timedelta64(1, "s"), "timedelta64(1, 's')", None, "store a number of seconds"),
    Row("array", np.array([[1.5, NAN]]), "[[1.5, nan]]", "[[1.5,null]]", "nested lists"),
    Row("object array", np.array([1, "a"], dtype=object), "[1, 'a']", '[1,"a"]', "value by value"),
]

JSON = [
    Row("integer", b"-9223372036854775808", "-9223372036854775808", "-9223372036854775808"),
    Row("integer", b"9223372036854775808", "9223372036854775808", None, "Qdrant's integers have 64 bits"),
    Row("number with a point or an exponent", b"3.30", "3.30", "3.3", "the nearest double, as JSON readers have it"),
    Row("number", b"1e999", "1e999", None, "beyond every double"),
    Row("NaN, Infinity", b"NaN", "NaN", None, "not JSON; write null"),
    Row("text", b'"\\u00e9"', '"\\u00e9"', '"é"'),
    Row("text", b'"\\ud800"', '"\\ud800"', None, "half of a surrogate pair is no text"),
    Row("object", b'{"a":1}', '{"a":1}', '{"a":1}'),
    Row("object", b'{"a":1,"a":2}', '{"a":1,"a":2}', None, "a key twice"),
]

TABLES = {"Arrow": ARROW, "Python": PYTHON, "numpy": NUMPY, "JSON text": JSON}


def line(row: Row) -> str:
    def code(text: str) -> str:
        return f"`{text}`"

    out = "refused" if row.json is None else row.json if row.json == "left out" else code(row.json)
    return f"| {row.kind} | {code(row.says)} | {out} | {row.why} |"


def table(rows: list[Row]) -> str:
    return "\n".join(["| type | value | JSON | |", "|---|---|---|---|", *map(line, rows)])
