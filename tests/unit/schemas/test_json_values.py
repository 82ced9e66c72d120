"""Values become JSON exactly or are refused with their place: held against Python's exact arithmetic."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memq import point_id
from memq.encode.points import payload_json
from memq_schemas.json_values import InexactValue, exact_json, json_value
from memq_schemas.json_values.arrow import Rules, json_values
from memq_schemas.json_values.arrow_types import unsayable

SETTINGS = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
DAY = 86_400_000  # milliseconds, which a date64 counts
I64 = range(-(2**63), 2**63)
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
TEXT = st.text(st.characters(codec="utf-8"), max_size=5)


class Leaf(NamedTuple):
    kind: Any
    values: st.SearchStrategy[Any]


def integers(bits: int, signed: bool) -> Leaf:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return Leaf(getattr(pa, f"{'' if signed else 'u'}int{bits}")(), st.integers(low, high))


def decimals(kind: Any) -> Leaf:
    most = 10**kind.precision - 1
    return Leaf(
        kind,
        st.integers(-most, most).map(
            lambda digits: Decimal((digits < 0, tuple(map(int, str(abs(digits)))), -kind.scale))
        ),
    )


def counts(kind: Any, bits: int) -> Leaf:
    wide = st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    near = st.integers(-(2**31), 2**31 - 1)
    return Leaf(kind, near | wide)


LEAVES = [
    *(integers(bits, signed) for bits in (8, 16, 32, 64) for signed in (True, False)),
    Leaf(pa.bool_(), st.booleans()),
    Leaf(pa.float16(), st.floats(width=16).map(np.float16)),
    Leaf(pa.float32(), st.floats(width=32)),
    Leaf(pa.float64(), st.floats()),
    *(
        decimals(kind)
        for kind in (pa.decimal32(9, 3), pa.decimal64(18, 0), pa.decimal128(15, 5), pa.decimal128(38, 10))
    ),
    *(decimals(kind) for kind in (pa.decimal128(38, 0), pa.decimal256(60, 20), pa.decimal128(20, 2))),
    *(Leaf(kind, TEXT) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    counts(pa.date32(), 32),
    Leaf(pa.date64(), st.integers(-(2**36), 2**36).map(lambda day: day * DAY)),
    *(counts(pa.timestamp(unit, zone), 64) for unit in PER_SECOND for zone in (None, "UTC", "Asia/Kolkata")),
    *(counts(pa.time32(unit), 32) for unit in ("s", "ms")),
    *(counts(pa.time64(unit), 64) for unit in ("us", "ns")),
]


def column(leaf: Leaf, values: list[Any]) -> Any:
    if pa.types.is_temporal(leaf.kind):
        counted = pa.int32() if leaf.kind.bit_width == 32 else pa.int64()
        return pa.array(values, counted).view(leaf.kind)
    return pa.array(values, leaf.kind)


def holds(kind: Any, value: Any, out: Any) -> bool:
    """Whether the JSON says exactly the value, by arithmetic that the code under test does not use."""
    if value is None:
        return out is None
    if pa.types.is_floating(kind):
        number = float(value)
        return out is None or np.isnan(out) if np.isnan(number) else Fraction(out) == Fraction(number)
    if pa.types.is_decimal(kind):
        return Decimal(orjson.dumps(out).decode()) == value and isinstance(out, int) == (kind.scale <= 0)
    if pa.types.is_temporal(kind):
        return count_of(kind, out) == value
    return type(out) is type(value) and out == value


def count_of(kind: Any, text: str) -> Any:
    if pa.types.is_date(kind):
        days = dt.date.fromisoformat(text).toordinal() - dt.date(1970, 1, 1).toordinal()
        return days if kind.bit_width == 32 else days * DAY
    seconds = 0
    if pa.types.is_timestamp(kind):
        assert text.endswith("+00:00")
        days = dt.date.fromisoformat(text[:10]).toordinal() - dt.date(1970, 1, 1).toordinal()
        seconds, text = days * 86_400, text[11:-6]
    hours, minutes, rest = text.split(":")
    exact = seconds + int(hours) * 3600 + int(minutes) * 60 + Fraction(rest)
    return exact * PER_SECOND[kind.unit]


def may_be_refused(kind: Any, value: Any) -> bool:
    if value is None:
        return False
    if pa.types.is_integer(kind):
        return value not in I64
    if pa.types.is_floating(kind):
        return bool(np.isinf(value))
    if pa.types.is_decimal(kind):
        digits = len(str(abs(int(value.scaleb(kind.scale)))).strip("0"))
        return value != value.to_integral_value() and digits > 15 if kind.scale > 0 and abs(value) < 2**53 else True
    if pa.types.is_time(kind):
        return not 0 <= value < 86_400 * PER_SECOND[kind.unit]
    if pa.types.is_timestamp(kind):
        return not -62_135_596_800 <= value // PER_SECOND[kind.unit] < 253_402_300_800
    if pa.types.is_date(kind):
        days = value if kind.bit_width == 32 else value // DAY
        return not -719_162 <= days <= 2_932_896
    return False


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: str(leaf.kind))
@SETTINGS
@given(st.data())
def test_every_value_of_every_type_is_exact_or_refused_with_its_row(leaf: Leaf, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | leaf.values, min_size=1, max_size=8))
    skip = data.draw(st.integers(0, len(values) - 1))
    array, values = column(leaf, values).slice(skip), values[skip:]
    try:
        found = json_values(array)
    except InexactValue as problem:
        row = problem.row or 0
        found, refused = json_values(array.slice(0, row)), values[row:][:1]
    else:
        row, refused = len(values), []
    assert all(may_be_refused(leaf.kind, value) for value in refused)
    assert all(holds(leaf.kind, value, out) for value, out in zip(values[:row], found, strict=True))


@SETTINGS
@given(st.data())
def test_nested_columns_hold_the_values_of_their_leaves(data: st.DataObject) -> None:
    leaf = data.draw(st.sampled_from(LEAVES))
    values = data.draw(st.lists(st.none() | leaf.values, min_size=1, max_size=6))
    array = column(leaf, values)
    expected: list[Any] | InexactValue
    try:
        expected = json_values(array)
    except InexactValue as problem:
        expected = problem
    for _ in range(data.draw(st.integers(1, 4))):
        wrapped, then = data.draw(st.sampled_from(WRAPPERS))(data.draw, array, expected)
        if unsayable(wrapped.type) is None:
            array, expected = wrapped, then
        else:
            assert "; decode the " in str(unsayable(wrapped.type))
    if isinstance(expected, InexactValue):
        with pytest.raises(InexactValue) as caught:
            json_values(array)
        assert (caught.value.row, caught.value.reason) == (expected.row, expected.reason)
        assert caught.value.path == expected.path
    else:
        assert orjson.dumps(json_values(array)) == orjson.dumps(expected)


def in_lists(draw: Any, array: Any, expected: Any) -> tuple[Any, Any]:
    first = draw(st.integers(0, len(array)))
    offsets = [0, first, len(array)]
    if draw(st.booleans()):
        kind, counted = draw(st.sampled_from([(pa.ListArray, pa.int32()), (pa.LargeListArray, pa.int64())]))
        lists = kind.from_arrays(pa.array(offsets, counted), array)
    else:
        kind, counted = draw(st.sampled_from([(pa.ListViewArray, pa.int32()), (pa.LargeListViewArray, pa.int64())]))
        sizes = [first, len(array) - first]
        lists = kind.from_arrays(pa.array(offsets[:2], counted), pa.array(sizes, counted), array)
    return lists, _spans(expected, offsets, lambda values, place: values, lambda place: f"[{place}]")


def in_fixed_lists(draw: Any, array: Any, expected: Any) -> tuple[Any, Any]:
    lists = pa.FixedSizeListArray.from_arrays(array, len(array))
    return lists, _spans(expected, [0, len(array)], lambda values, place: values, lambda place: f"[{place}]")


def in_maps(draw: Any, array: Any, expected: Any) -> tuple[Any, Any]:
    first = draw(st.integers(0, len(array)))
    offsets, names = [0, first, len(array)], [f"k{n}" for n in range(len(array))]
    maps = pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(names), array)
    return maps, _spans(
        expected,
        offsets,
        lambda values, place: dict(zip(names[place : place + len(values)], values, strict=True)),
        lambda place: "k{}",
    )


def _spans(expected: Any, offsets: list[int], build: Any, label: Any) -> Any:
    if isinstance(expected, InexactValue):
        assert expected.row is not None
        row = next(row for row, end in enumerate(offsets[1:]) if expected.row < end)
        path = label(expected.row - offsets[row]).format(expected.row)
        return InexactValue(expected.reason, joined(path, expected.path), row)
    return [build(expected[start:end], start) for start, end in itertools.pairwise(offsets)]


def in_structs(draw: Any, array: Any, expected: Any) -> tuple[Any, Any]:
    fields = [array, pa.array(range(len(array)))]
    hidden = draw(st.sets(st.integers(0, len(array) - 1))) if not pa.types.is_run_end_encoded(array.type) else set()
    if isinstance(expected, InexactValue):
        hidden -= {expected.row}
    mask = pa.array([row in hidden for row in range(len(array))])
    structs = pa.StructArray.from_arrays(fields, names=["a", "n"], mask=mask if hidden else None)
    if isinstance(expected, InexactValue):
        return structs, InexactValue(expected.reason, joined("a", expected.path), expected.row)
    return structs, [None if row in hidden else {"a": value, "n": row} for row, value in enumerate(expected)]


def in_runs(draw: Any, array: Any, expected: Any) -> tuple[Any, Any]:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:  # runs are validated where they are made, other columns are not
        return array, expected
    ends = pa.array(range(2, 2 * len(array) + 1, 2), pa.int32())
    runs = pa.RunEndEncodedArray.from_arrays(ends, array)
    if isinstance(expected, InexactValue):
        assert expected.row is not None
        return runs, InexactValue(expected.reason, expected.path, 2 * expected.row)
    return runs, [value for value in expected for _ in range(2)]


def in_dictionary(draw: Any, array: Any, expected: Any) -> tuple[Any, Any]:
    used = draw(st.lists(st.none() | st.integers(0, len(array) - 1), min_size=1, max_size=6))
    coded = pa.DictionaryArray.from_arrays(pa.array(used, pa.int8()), array)
    if isinstance(expected, InexactValue):
        if expected.row in used:
            return coded, InexactValue(expected.reason, expected.path, used.index(expected.row))
        # Values that no row has are not looked at; those that are left may have the next problem.
        try:
            each = [None if place is None else json_values(array.slice(place, 1))[0] for place in used]
        except InexactValue:
            return array, expected
        return coded, each
    return coded, [None if place is None else expected[place] for place in used]


def joined(path: str, inner: str) -> str:
    return f"{path}{inner}" if not inner or inner.startswith("[") else f"{path}.{inner}"


WRAPPERS = [in_lists, in_fixed_lists, in_maps, in_structs, in_runs, in_dictionary]


@SETTINGS
@given(st.decimals(allow_infinity=False) | st.decimals(places=2, min_value=-(10**9), max_value=10**9))
def test_a_decimal_of_python_is_exact_or_refused(value: Decimal) -> None:
    try:
        out = json_value(value)
    except InexactValue:
        digits = value.as_tuple().digits
        assert len(str(int("".join(map(str, digits)))).rstrip("0")) > 15 or abs(value.adjusted()) > 15
        return
    assert out is None if value.is_nan() else Decimal(orjson.dumps(out).decode()) == value


@SETTINGS
@given(st.decimals(places=3, min_value=-(10**20), max_value=10**20))
def test_decimals_as_text_keep_all_their_digits(value: Decimal) -> None:
    (text,) = json_values(pa.array([value], pa.decimal128(38, 3)), Rules(decimals_as_text=True))
    assert Decimal(text) == value
    assert len(text.partition(".")[2]) == 3


@SETTINGS
@given(st.integers() | st.integers(-(2**70), 2**70), st.sampled_from(["", "[1.5, {}]", '{{"deep": {}}}']))
def test_an_integer_in_json_text_is_exact_whatever_its_size(value: int, around: str) -> None:
    inner = (around or "{}").format(value)
    assert exact_json(b'{"x": %b, "v": [0.5]}' % inner.encode())["x"] == json.loads(inner)


@SETTINGS
@given(
    st.dictionaries(TEXT, st.none() | st.integers(-9, 9) | TEXT | st.lists(TEXT | st.just({"a": ":"})), max_size=4),
    st.booleans(),
)
def test_a_key_that_is_there_twice_is_found_and_no_other(fields: dict[str, Any], twice: bool) -> None:
    text = orjson.dumps(fields)
    if twice and fields:
        name, value = next(iter(fields.items()))
        text = text[:-1] + b" ,%b \t:%b}" % (orjson.dumps(name), orjson.dumps(value))
        with pytest.raises(InexactValue, match="duplicate"):
            exact_json(text)
    else:
        assert exact_json(text) == fields


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", 42, 42.0, Decimal("42.00"), np.float32(42)], None),
        ([0.1, Decimal("0.10"), np.float64(0.1)], None),
        ([dt.datetime(2026, 1, 2, tzinfo=dt.UTC), dt.datetime(2026, 1, 2), np.datetime64("2026-01-02T00:00:00")], None),
        (
            [
                dt.datetime(2026, 1, 2, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
                "2026-01-02T00:00:00+00:00",
            ],
            None,
        ),
        ([dt.date(2026, 1, 2), "2026-01-02", np.datetime64("2026-01-02")], None),
        ([Decimal(2**80), 2**80], None),
    ],
)
def test_the_same_key_is_the_same_id_whatever_its_type(values: list[Any], kind: Any) -> None:
    same = values[1:] if values[0] == "a" else values
    assert len({point_id("part", value) for value in same}) == 1


@SETTINGS
@given(st.sampled_from(LEAVES), st.data())
def test_a_key_from_a_column_is_the_key_from_python(leaf: Leaf, data: st.DataObject) -> None:
    value = data.draw(leaf.values)
    if pa.types.is_temporal(leaf.kind) and may_be_refused(leaf.kind, value):
        return
    if pa.types.is_floating(leaf.kind) and not np.isfinite(value):
        return
    array = column(leaf, [value])
    (part,) = json_values(array, Rules(key=True))
    try:
        (python,) = array.to_pylist()
    except ValueError:  # nanoseconds, which Python's types have not
        return
    assert point_id(part) == point_id(python)


def test_a_payload_is_written_the_same_from_python_and_from_a_column() -> None:
    rows = [
        {
            "n": 2**63 - 1,
            "price": Decimal("3.30"),
            "day": dt.date(2026, 1, 2),
            "at": dt.datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=dt.UTC),
            "time": dt.time(1, 2, 3),
            "tags": ["a", None],
            "deep": {"x": 0.1},
        }
    ]
    table = pa.Table.from_pylist(rows)
    found = {name: json_values(table.column(name).combine_chunks())[0] for name in table.column_names}
    assert orjson.loads(payload_json(rows[0])) == found


def test_a_date_that_is_no_whole_day_is_refused() -> None:
    with pytest.raises(InexactValue) as caught:
        json_values(pa.array([None, DAY, DAY + 1], pa.int64()).view(pa.date64()))
    assert caught.value.row == 2


def test_depth_is_limited_as_the_worker_limits_it() -> None:
    deep: Any = 1
    for _ in range(15):
        deep = [deep]
    assert payload_json({"x": deep})
    with pytest.raises(ValueError, match="16 levels"):
        payload_json({"x": [deep]})
    kind: Any = pa.int8()
    for _ in range(15):
        kind = pa.list_(kind)
    assert unsayable(kind) is None
    assert "16 levels" in str(unsayable(pa.list_(kind)))
