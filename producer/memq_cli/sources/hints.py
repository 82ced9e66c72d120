"""The options of `memq upsert` that help with a problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memq_schemas.json_values.decimals import INEXACT

if TYPE_CHECKING:
    from memq.encode.column_names import ColumnNames


def hint(field: str | None, columns: ColumnNames, reason: str = "") -> str:
    """Hint for an error about this column or field; empty if no option helps."""
    if reason.endswith(INEXACT):
        return "; --decimals text stores decimals as text"
    if field == columns.id:
        return "; --id-column names another column, --id-key derives ids from any, --id-start numbers the points"
    if field == columns.vector:
        return "; --vector-column names another column"
    if field is not None and field == columns.version:
        return "; --version-column names another column, none for a file without versions"
    return ""
