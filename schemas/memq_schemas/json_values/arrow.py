"""Arrow columns to what JSON says exactly, the same for a producer's tables and for messages in Arrow."""

from __future__ import annotations

import base64
from bisect import bisect_right
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from memq_schemas.json_values.arrow_types import is_binary, is_list, is_text
from memq_schemas.json_values.decimals import BEYOND_64_BITS, INFINITE, MAX_INTEGER, decimal_text, json_number
from memq_schemas.json_values.problem import InexactValue, key_path
from memq_schemas.json_values.times import date64_texts, date_texts, duration_text, instant_texts, time_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Values: TypeAlias = list[Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """Writers of values.

    decimals_as_text: every decimal becomes text with all its digits.   key: values are parts of an id, not of a
    payload, so integers have no limit and a decimal that no float keeps is text.
    """

    decimals_as_text: bool = False
    key: bool = False


def json_values(column: Any, rules: Rules = Rules()) -> Values:
    """One value a row; None for null. Raises InexactValue with the row and the path within it."""
    kind = column.type
    pa = import_module("pyarrow")
    for applies, convert in _converters(pa.types):
        if applies(kind):
            return convert(pa, column, rules)
    if isinstance(kind, pa.BaseExtensionType):
        return _extension(pa, column, rules)
    raise InexactValue(f"{kind}, which JSON has no type for")


def _converters(types: Any) -> tuple[tuple[Callable[[Any], bool], Callable[[Any, Any, Rules], Values]], ...]:
    def is_plain(kind: Any) -> bool:
        return types.is_boolean(kind) or types.is_null(kind) or types.is_integer(kind)

    return (
        (types.is_uint64, _unsigned),
        (is_plain, _plain),
        (partial(is_text, types), _texts),
        (types.is_floating, _floats),
        (types.is_decimal, _decimals),
        (types.is_timestamp, _instants),
        (types.is_date, _dates),
        (types.is_time, _times),
        (types.is_map, _maps),
        (partial(is_list, types), _lists),
        (types.is_struct, _structs),
        (types.is_dictionary, _dictionary),
        (types.is_run_end_encoded, _runs),
        (types.is_union, _union),
        (partial(is_binary, types), _binary),
        (types.is_duration, _durations),
    )


def _plain(pa: Any, column: Any, rules: Rules) -> Values:
    return column.to_pylist()


def _unsigned(pa: Any, column: Any, rules: Rules) -> Values:
    found: Values = column.to_pylist()
    if not rules.key:
        for row, value in enumerate(found):
            if value is not None and value > MAX_INTEGER:
                raise InexactValue(BEYOND_64_BITS, row=row)
    return found


def _texts(pa: Any, column: Any, rules: Rules) -> Values:
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        raw = column.cast(pa.large_binary()).to_pylist()
        raise InexactValue("not UTF-8", row=next(row for row, value in enumerate(raw) if not _is_utf8(value))) from None


def _is_utf8(value: bytes | None) -> bool:
    try:
        return value is None or bool(value.decode()) or True
    except UnicodeDecodeError:
        return False


def _floats(pa: Any, column: Any, rules: Rules) -> Values:
    numbers = column.to_numpy(zero_copy_only=False).astype(np.float64)
    infinite = np.isinf(numbers)
    if infinite.any():
        raise InexactValue(INFINITE, row=int(infinite.argmax()))
    found: Values = numbers.tolist()
    if not column.null_count:
        return found
    return [value if there else None for value, there in zip(found, column.is_valid().to_pylist(), strict=True)]


def _decimals(pa: Any, column: Any, rules: Rules) -> Values:
    found: Values = column.to_pylist()
    for row, value in enumerate(found):
        if value is None:
            continue
        if rules.decimals_as_text:
            found[row] = decimal_text(value)
            continue
        try:
            found[row] = json_number(value)
        except InexactValue as problem:
            if not rules.key:
                raise InexactValue(problem.reason, row=row) from None
            found[row] = decimal_text(value)
    return found


def _instants(pa: Any, column: Any, rules: Rules) -> Values:
    # Arrow keeps instants in UTC; as counts they need no zone database, which small images do not have.
    return _counted(pa, column, pa.int64(), lambda counts: instant_texts(counts, column.type.unit))


def _dates(pa: Any, column: Any, rules: Rules) -> Values:
    if column.type.bit_width == 32:
        return _counted(pa, column, pa.int32(), date_texts)
    return _counted(pa, column, pa.int64(), date64_texts)


def _times(pa: Any, column: Any, rules: Rules) -> Values:
    counts = pa.int32() if column.type.bit_width == 32 else pa.int64()
    return _counted(pa, column, counts, lambda counts: time_texts(counts, column.type.unit))


def _durations(pa: Any, column: Any, rules: Rules) -> Values:
    unit = column.type.unit
    return _counted(pa, column, pa.int64(), lambda counts: [duration_text(count, unit) for count in counts.tolist()])


def _counted(pa: Any, column: Any, kind: Any, texts: Callable[[Any], list[str]]) -> Values:
    there = column.drop_null() if column.null_count else column
    counts = there.view(kind).to_numpy(zero_copy_only=False).astype(np.int64)
    if not column.null_count:
        return list(texts(counts)) if len(counts) else []
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    try:
        given = iter(texts(counts) if len(counts) else [])
    except InexactValue as problem:
        raise InexactValue(problem.reason, row=int(np.flatnonzero(valid)[problem.row])) from None
    return [next(given) if there else None for there in valid.tolist()]


def _binary(pa: Any, column: Any, rules: Rules) -> Values:
    return [None if value is None else base64.b64encode(value).decode("ascii") for value in column.to_pylist()]


def _lists(pa: Any, column: Any, rules: Rules) -> Values:
    return [None if span is None else items for span, items in _spans(column, rules, column.flatten())]


def _spans(column: Any, rules: Rules, flat: Any, keys: Values | None = None) -> list[tuple[range | None, Values]]:
    """The values of each list, from those of all lists end to end.   keys: names for them in paths."""
    if getattr(column.type, "list_size", -1) >= 0:
        lengths = np.where(column.is_valid().to_numpy(zero_copy_only=False), column.type.list_size, 0)
    else:
        lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    try:
        values = json_values(flat, rules)
    except InexactValue as problem:
        place = problem.row or 0
        row = int(np.searchsorted(ends, place, side="right"))
        path = f"[{place - int(starts[row])}]" if keys is None else str(keys[place])
        raise InexactValue(problem.reason, _below(path, problem.path), row) from None
    return [
        (range(start, end), values[start:end]) if there else (None, [])
        for start, end, there in zip(starts.tolist(), ends.tolist(), column.is_valid().to_pylist(), strict=True)
    ]


def _maps(pa: Any, column: Any, rules: Rules) -> Values:
    entries = column.cast(pa.list_(pa.struct([("key", column.type.key_type), ("value", column.type.item_type)])))
    flat = entries.flatten()
    keys = json_values(flat.field(0), rules)
    objects: Values = []
    for row, (span, values) in enumerate(_spans(entries, rules, flat.field(1), keys)):
        if span is None:
            objects.append(None)
            continue
        names = keys[span.start : span.stop]
        objects.append(dict(zip(names, values, strict=True)))
        if len(objects[-1]) < len(names):
            raise InexactValue("duplicate key in a map", row=row)
    return objects


def _structs(pa: Any, column: Any, rules: Rules) -> Values:
    names = [column.type.field(index).name for index in range(column.type.num_fields)]
    # Below a null lies anything, which flatten hides.
    fields = column.flatten() if column.null_count else [column.field(index) for index in range(len(names))]
    columns: list[Values] = []
    for name, field in zip(names, fields, strict=True):
        try:
            columns.append(json_values(field, rules))
        except InexactValue as problem:
            raise InexactValue(problem.reason, _below(name, problem.path), problem.row) from None
    rows = zip(*columns, strict=True) if names else iter([()] * len(column))
    return [
        dict(zip(names, row, strict=True)) if there else None
        for row, there in zip(rows, column.is_valid().to_pylist(), strict=True)
    ]


def _dictionary(pa: Any, column: Any, rules: Rules) -> Values:
    rows = column.indices.to_pylist()
    return _picked(column.dictionary, rows, rules)


def _runs(pa: Any, column: Any, rules: Rules) -> Values:
    ends = column.run_ends.to_pylist()
    rows = range(column.offset, column.offset + len(column))
    return _picked(column.values, [bisect_right(ends, row) for row in rows], rules)


def _picked(values: Any, rows: Sequence[int | None], rules: Rules) -> Values:
    """The value of each row, by its place among the values, of which some may be of no row."""
    try:
        found = json_values(values, rules)
    except InexactValue as problem:
        if problem.row in rows:
            raise InexactValue(problem.reason, problem.path, rows.index(problem.row)) from None
        used = sorted({place for place in rows if place is not None})
        each = {place: json_values(values.slice(place, 1), rules)[0] for place in used}
        return [None if place is None else each[place] for place in rows]
    return [None if place is None else found[place] for place in rows]


def _union(pa: Any, column: Any, rules: Rules) -> Values:
    found: Values = []
    for row, scalar in enumerate(column):
        value = scalar.value
        try:
            found += [None] if value is None else json_values(pa.array([value], value.type), rules)
        except InexactValue as problem:
            raise InexactValue(problem.reason, problem.path, row) from None
    return found


def _extension(pa: Any, column: Any, rules: Rules) -> Values:
    if column.type.extension_name == "arrow.uuid":
        return [None if value is None else str(value) for value in column.to_pylist()]
    if column.type.extension_name == "arrow.bool8":
        return [None if value is None else bool(value) for value in column.storage.to_pylist()]
    return json_values(column.storage, rules)


def _below(path: str, inner: str) -> str:
    return f"{path}{inner}" if inner.startswith("[") or not inner else key_path(path, inner)
