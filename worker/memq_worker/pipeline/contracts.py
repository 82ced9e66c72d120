import asyncio
import time
from collections.abc import Sequence

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError
from memq_worker.pipeline.command import RemoveVectors, ReplaceVectors, UpsertPoints, Write
from memq_worker.pipeline.limits.stored_points import StoredPoints
from memq_worker.pipeline.store import Cell, Contract, RowsCell, SparseCell, Store

_FRESH_SECONDS = 60.0
_SPARSE = frozenset({SparseCell, type(None)})

VectorWrite = UpsertPoints | ReplaceVectors | RemoveVectors


class Contracts:
    """Contracts of collections, read from the store once a minute and again before a refusal because of them."""

    def __init__(self, store: Store, stored: StoredPoints | None = None) -> None:
        """stored: the limit on tenants' stored points, which refuses upserts too."""
        self._store = store
        self._stored = stored
        self._known: dict[str, tuple[Contract, float]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def get(self, collection: str, max_age_seconds: float = _FRESH_SECONDS) -> Contract:
        """Raises what Store.contract raises."""
        known = self._known.get(collection)
        if known is not None and time.monotonic() - known[1] < max_age_seconds:
            return known[0]
        asked = time.monotonic()
        lock = self._asking.setdefault(collection, asyncio.Lock())
        async with lock:
            known = self._known.get(collection)
            if known is not None and known[1] >= asked:
                return known[0]
            self._known.pop(collection, None)
            try:
                contract = await self._store.contract(collection)
                self._known[collection] = (contract, asked)
            finally:
                self._asking.pop(collection, None)
            return contract

    def forget(self, collection: str) -> None:
        self._known.pop(collection, None)

    async def refusals(self, collection: str, commands: Sequence[VectorWrite]) -> dict[Write, MessageError]:
        """The commands whose vectors the collection does not take.

        A collection may have been recreated, or an alias switched, so nothing is refused on a contract that was read
        before the refusal.
        """
        contract = await self.get(collection)
        refused = _refused(contract, collection, commands)
        if refused:
            contract = await self.get(collection, 0.0)
            refused = _refused(contract, collection, commands)
        if self._stored is not None and any(command.delivery.tenant is not None for command in commands):
            upserts = [c for c in commands if isinstance(c, UpsertPoints) and c not in refused]
            refused |= await self._stored.refusals(collection, upserts)
        return refused


def _refused(contract: Contract, collection: str, commands: Sequence[VectorWrite]) -> dict[Write, MessageError]:
    problems = ((command, mismatch(contract, collection, command)) for command in commands)
    return {command: problem for command, problem in problems if problem is not None}


def mismatch(contract: Contract, collection: str, command: VectorWrite) -> MessageError | None:
    """The first vector of the message that the collection does not take."""
    if isinstance(command, RemoveVectors):
        return _unknown_name(contract, collection, command.names)
    for name, column in command.points.columns.items():
        if name in contract.sparse and _SPARSE.issuperset(map(type, column)):
            continue
        size = contract.sizes.get(name)
        # A sparse or multivector cell is a tuple of two, which no dense vector's bytes are as short as.
        expected = None if size is None or name in contract.multi else 4 * size
        for index, cell in enumerate(column):
            if cell is None or len(cell) == expected:
                continue
            problem = _problem(contract, collection, name, cell)
            if problem is not None:
                code, reason = problem
                return MessageError(code, f"points[{index}]: {reason}", stage="validate")
    return None


def _unknown_name(contract: Contract, collection: str, names: list[str]) -> MessageError | None:
    for index, name in enumerate(names):
        if name not in contract.sizes and name not in contract.sparse:
            known = ", ".join(repr(each) for each in (*contract.sizes, *sorted(contract.sparse)))
            reason = f"collection {collection!r} has no vector of this name; it has {known}"
            return MessageError(ErrorCode.UNKNOWN_VECTOR, f"remove[{index}]: {reason}", stage="validate")
    return None


def check_vector(contract: Contract, collection: str, name: str, cell: Cell) -> None:
    """Raise MessageError for a vector to search with that is of another kind or size than those of this name."""
    problem = _problem(contract, collection, name, cell)
    if problem is not None:
        code, reason = problem
        place = "using" if code is ErrorCode.UNKNOWN_VECTOR else "vector"
        raise MessageError(code, f"{place}: {reason}", stage="validate")


def _problem(contract: Contract, collection: str, name: str, cell: Cell) -> tuple[ErrorCode, str] | None:
    if name in contract.sparse:
        if isinstance(cell, SparseCell):
            return None
        return ErrorCode.INVALID_VECTOR, f"a {_kind(cell)}, collection {collection!r} takes a sparse vector here"
    size = contract.sizes.get(name)
    if size is None:
        return ErrorCode.UNKNOWN_VECTOR, _unknown_vector(contract, collection, name, cell)
    multi = name in contract.multi
    if isinstance(cell, SparseCell) or (isinstance(cell, RowsCell) and not multi):
        wanted = "multivector" if multi else "dense vector"
        return ErrorCode.INVALID_VECTOR, f"a {_kind(cell)}, collection {collection!r} takes a {wanted} here"
    dimensions = (cell.row_bytes if isinstance(cell, RowsCell) else len(cell)) // 4
    if dimensions != size:
        return ErrorCode.WRONG_DIMENSION, f"{dimensions} dimensions, collection {collection!r} takes {size}"
    return None


def _kind(cell: Cell) -> str:
    if isinstance(cell, SparseCell):
        return "sparse vector"
    return "multivector" if isinstance(cell, RowsCell) else "dense vector"


def _unknown_vector(contract: Contract, collection: str, name: str, cell: Cell) -> str:
    names = ", ".join(repr(known) for known in (*contract.sizes, *sorted(contract.sparse)) if known)
    if isinstance(cell, SparseCell) and not name:
        named = f" by name: {', '.join(map(repr, sorted(contract.sparse)))}" if contract.sparse else ""
        return f"a sparse vector has a name; collection {collection!r} takes {'them' if named else 'none'}{named}"
    if not names:
        return f"collection {collection!r} takes one unnamed vector"
    if name:
        return f"collection {collection!r} has no vector of this name; it has {names}"
    return f"collection {collection!r} takes named vectors: {names}"
