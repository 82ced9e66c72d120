from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memq.encode.arrow.table import NAMED

if TYPE_CHECKING:
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
