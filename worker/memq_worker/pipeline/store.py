from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from memq_schemas import CreateCollection, Filter, Get, Operation, Query, SetPayload
from memq_schemas.points import Mode
from memq_worker.errors import WorkerError

Id = int | str


class SparseCell(NamedTuple):
    """A sparse vector: little-endian uint32 and float32 bytes, the same number of each; no index is there twice."""

    indices: bytes | memoryview
    values: bytes | memoryview


class RowsCell(NamedTuple):
    """A multivector: little-endian float32 bytes of all its rows, and how many bytes one row has."""

    row_bytes: int
    numbers: bytes | memoryview


Cell = bytes | memoryview | SparseCell | RowsCell
Column = list[Cell | None]


@dataclass(slots=True)
class PointsBatch:
    """Points ready to be written: parallel lists, and one column of vectors per vector name.

    A dense vector is its little-endian float32 bytes. The unnamed vector is the column "". Versions are all None unless
    the points carry some.
    """

    ids: list[Id]
    columns: dict[str, Column]
    payloads: list[dict[str, Any] | None]
    versions: list[int | None] | None = None
    mode: Mode = "upsert"

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Contract:
    """Contract of a collection: dimensions by vector name, which of them are multivectors, and sparse names."""

    sizes: dict[str, int]
    multi: frozenset[str] = frozenset()
    sparse: frozenset[str] = frozenset()


class Store(Protocol):
    """Qdrant as the pipeline sees it.

    Every call raises MessageError when the request itself is refused, DependencyError when it failed in a way that may
    lie in the request, and Outage when the store is away or overloaded. `timeout` is in seconds.
    """

    async def contract(self, collection: str, timeout: float | None = None) -> Contract: ...

    async def upsert(self, collection: str, points: PointsBatch) -> None: ...

    async def delete(self, collection: str, ids: list[Id] | None, where: Filter | None) -> None: ...

    async def delete_older(self, collection: str, versions: dict[Id, int]) -> None:
        """Delete the points that are stored without a version or with a lower one than given."""
        ...

    async def update_vectors(self, collection: str, points: PointsBatch) -> None:
        """Replace vectors of stored points, whose others stay. A point stored with a higher version is left alone."""
        ...

    async def delete_vectors(
        self, collection: str, ids: list[Id] | None, where: Filter | None, names: list[str]
    ) -> None: ...

    async def set_payload(self, collection: str, change: SetPayload, preserved: tuple[str, ...] = ()) -> None:
        """Change payloads. A point's version and the `preserved` keys survive, whatever becomes of the rest."""
        ...

    async def query(self, collection: str, query: Query, timeout: float, share: int = 1) -> list[dict[str, Any]]:
        """Return the hits. Raises MessageError if they exceed one of `share` equal parts of the largest reply."""
        ...

    async def queries(
        self, collection: str, queries: Sequence[Query], timeout: float, share: int
    ) -> list[list[dict[str, Any]] | WorkerError]:
        """Return for each query, none of which groups its hits, what `query` returns or raises."""
        ...

    async def get(self, collection: str, get: Get, timeout: float) -> list[dict[str, Any]]: ...

    async def count(self, collection: str, where: Filter | None, timeout: float) -> int: ...

    async def request(self, operation: Operation, collection: str, body: Any, timeout: float) -> Any:
        """Return the result of a request that the pipeline passes on as it is, in its JSON form."""
        ...

    async def list_collections(self, timeout: float) -> list[str]: ...

    async def create_collection(self, collection: str, body: CreateCollection, timeout: float) -> bool:
        """False when it was there already with the same vectors and `exist_ok` was given."""
        ...

    async def describe_collection(self, collection: str, timeout: float) -> dict[str, Any]: ...

    async def drop_collection(self, collection: str, timeout: float) -> bool: ...
