"""Roles of the columns of a file or table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from memq.errors import InvalidRequest
from memq_schemas import point_id

Row: TypeAlias = tuple[Any, Any, dict[str, Any] | None, Any]


class ColumnError(InvalidRequest):
    """A column is missing, there twice, or of a type that cannot be what it is named for."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """id: taken as it is.   key: the id is derived from these columns.   start: ids count up from here.

    payload: only these columns become payload keys; None takes all that have no other meaning.
    version: holds versions; None if no column does.   decimals: how decimals are written in payloads.
    """

    id: str = "id"
    vector: str = "vector"
    payload: tuple[str, ...] | None = None
    key: tuple[str, ...] = ()
    start: int | None = None
    version: str | None = "version"
    decimals: Literal["number", "text"] = "number"

    def row(self, index: int, fields: dict[str, Any], vector: Any) -> Row:
        """One point from the fields of a row, which is used up. Raises ValueError naming the field."""
        id_ = self.point_id(index, fields)
        version = None if self.version is None else fields.pop(self.version, None)
        return id_, vector, self.payload_of(fields), version

    def payload_of(self, fields: dict[str, Any]) -> dict[str, Any] | None:
        """Payload from the fields of a row other than id, vector and version. Raises ValueError naming the field."""
        if self.payload is not None:
            return {name: fields[name] for name in self.payload if name in fields} or None
        whole = fields.pop("payload", None)
        if whole is None:
            return fields or None
        if not isinstance(whole, dict):
            raise ValueError(f"payload: expected an object, this is {type(cast('object', whole)).__name__}")  # noqa: TRY004
        payload = cast("dict[str, Any]", whole)
        for name in payload.keys() & fields.keys():
            if not _same(payload[name], fields[name]):
                raise ValueError(f"payload: the key {name!r} is a column too, with another value")
        return {**payload, **fields} or None

    def point_id(self, index: int, fields: dict[str, Any]) -> Any:
        """Taken out of the fields, where it is one of them. Raises ValueError naming the field."""
        if self.key:
            # NaN, which is how pandas says that a number is missing, is not equal to itself.
            missing = [name for name in self.key if (part := fields.get(name)) is None or part != part]
            if missing:
                raise ValueError(f"{missing[0]}: missing, and --id-key needs it")
            return point_id(*(fields[name] for name in self.key))
        if self.start is not None:
            return self.start + index
        if self.id not in fields:
            raise ValueError(
                f"{self.id}: missing; name another column with --id-column, derive ids with --id-key, "
                "or number the points with --id-start"
            )
        return fields.pop(self.id)


def _same(left: Any, right: Any) -> bool:
    """Return True for values that JSON writes alike: 1, 1.0 and true are equal in Python alone."""
    if type(left) is not type(right) or left != right:
        return False
    if isinstance(left, dict):
        return all(_same(value, right[key]) for key, value in cast("dict[str, Any]", left).items())
    return not isinstance(left, list) or all(map(_same, cast("list[Any]", left), right))
