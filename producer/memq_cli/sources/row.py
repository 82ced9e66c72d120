from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memq.encode.arrow.table import NAMED
from memq_cli.sources.bad_file import BadFile
from memq_cli.sources.hints import hint

if TYPE_CHECKING:
    from collections.abc import Collection

    from memq.encode.column_names import ColumnNames, Row


def row_of(index: int, fields: dict[str, Any], columns: ColumnNames) -> Row:
    """One point from the fields of a row, which is used up. Raises ValueError naming the field.

    Fields called `vector.NAME` are named vectors where there is no field `vector`.
    """
    name = columns.vector
    if name in fields:
        return columns.row(index, fields, fields.pop(name))
    named = [field for field in fields if field.startswith(NAMED)] if name == "vector" else []
    if not named:
        raise ValueError(f"{name}: missing; name another field with --vector-column")
    vectors = {field.removeprefix(NAMED): fields.pop(field) for field in named}
    return columns.row(index, fields, {part: vector for part, vector in vectors.items() if vector is not None})


def expect_columns(name: str, there: Collection[str], columns: ColumnNames) -> None:
    """Raise BadFile unless a table with these columns has one for ids and one for vectors, also if it has no rows."""
    numbered = columns.key or columns.start is not None
    named = columns.vector == "vector" and any(column.startswith(NAMED) for column in there)
    for wanted in ([] if named else [columns.vector]) + ([] if numbered else [columns.id]):
        if wanted not in there:
            listed = ", ".join(there) or "none"
            raise BadFile(f"{name}: no column {wanted!r}; there are {listed}{hint(wanted, columns)}")
