"""Which column of a file is what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from memq_schemas import point_id

Row: TypeAlias = tuple[Any, Any, dict[str, Any] | None, Any]


class BadFile(ValueError):
    """The text names the file, the place in it and what would be right."""


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """id: taken as it is.   key: the id is derived from these columns.   start: ids count up from here.

    payload: only these columns become payload keys; None takes all that have no other meaning.
    """

    id: str = "id"
    vector: str = "vector"
    payload: tuple[str, ...] | None = None
    key: tuple[str, ...] = ()
    start: int | None = None

    def row(self, index: int, fields: dict[str, Any], vector: Any) -> Row:
        """One point from the fields of a row, which is used up. Raises ValueError naming the field."""
        id_ = self._id(index, fields)
        version = fields.pop("version", None)
        if self.payload is None:
            whole = fields.pop("payload", None)
            payload = fields
            if whole is not None:
                if not isinstance(whole, dict):
                    raise ValueError(f"payload: expected an object, this is {type(cast('object', whole)).__name__}")
                payload = {**cast("dict[str, Any]", whole), **fields}
        else:
            payload = {name: fields[name] for name in self.payload if name in fields}
        return id_, vector, payload or None, version

    def _id(self, index: int, fields: dict[str, Any]) -> Any:
        if self.key:
            missing = [name for name in self.key if fields.get(name) is None]
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
