"""The bundled data set: memories with embeddings, and questions with known answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    import numpy as np

DATA = Path(__file__).parent.parent / "data"
COLLECTION = "memories"
# By exact cosine with the filters, see data/README.md: questions with a labelled answer among the first k, of 32.
PROMISED = {1: 28 / 32, 3: 32 / 32, 5: 32 / 32}

PAYLOAD = ["user", "kind", "text", "tags", "created_at"]


class BadData(ValueError):
    pass


@dataclass(frozen=True, slots=True)
class Memories:
    ids: list[str]
    vectors: np.ndarray
    payloads: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    vector: np.ndarray
    user: str | None
    kind: str | None
    answers: frozenset[str]

    @property
    def filter(self) -> dict[str, Any] | None:
        wanted = {"user": self.user, "kind": self.kind}
        must = [{"key": key, "match": {"value": value}} for key, value in wanted.items() if value]
        return {"must": must} if must else None

    def rank(self, ids: list[str]) -> int | None:
        """The place of the first labelled answer among `ids`, from 1."""
        return next((place for place, id_ in enumerate(ids, 1) if id_ in self.answers), None)


def memories(path: Path = DATA / "memories.parquet") -> Memories:
    """Raises BadData."""
    table = _table(path, ["id", "vector", *PAYLOAD])
    # Times with a zone need a time zone database, which a bare machine does not have; without one they mean UTC.
    times = table["created_at"].cast(pa.timestamp("ms"))
    table = table.set_column(table.column_names.index("created_at"), "created_at", times)
    return Memories(table["id"].to_pylist(), _vectors(table), table.select(PAYLOAD).to_pylist())


def questions(path: Path = DATA / "questions.parquet") -> list[Question]:
    """Raises BadData."""
    table = _table(path, ["question", "vector", "user", "kind", "answers"])
    rows = table.drop_columns(["vector"]).to_pylist()
    return [
        Question(row["question"], vector, row["user"], row["kind"], frozenset(row["answers"]))
        for row, vector in zip(rows, _vectors(table), strict=True)
    ]


def _table(path: Path, columns: list[str]) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise BadData(f"{path}: {error}") from error
    if missing := [name for name in columns if name not in table.column_names]:
        raise BadData(f"{path}: no column {', '.join(missing)}")
    if not len(table):
        raise BadData(f"{path}: no rows")
    return table.select(columns)


def _vectors(table: pa.Table) -> np.ndarray:
    column = table["vector"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
