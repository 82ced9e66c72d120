"""Changes of points that are stored."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NotRequired, TypeAlias, TypedDict
from uuid import UUID

from memq.deliver.batches import selection
from memq.deliver.upserts import Given, deliver_upsert
from memq.deliver.writes import Writes
from memq.encode.requests import wire_ids
from memq.questions import FilterLike, Questions
from memq_schemas import ChangeVectors, Delete, Operation, Point, SetPayload

if TYPE_CHECKING:
    from memq.answers import Receipt
    from memq.encode.arrow import ArrowStream
    from memq.options import Options
    from memq_schemas.model import Model
    from memq_schemas.topology import Lane

Id: TypeAlias = int | str | UUID


class PointRow(TypedDict):
    """A point as a dict.   vector: numbers, an array, base64 of float32, or an object of them for named vectors."""

    id: Id
    vector: Any
    payload: NotRequired[Mapping[str, Any] | None]
    version: NotRequired[int | None]


Row: TypeAlias = PointRow | Point | Sequence[Any]


class Changes(Questions):
    """The changes of a Producer; it says where they go."""

    _options: Options

    async def update_vectors(
        self,
        collection: str,
        points: Iterable[Row] | AsyncIterable[Row] | ArrowStream,
        *,
        lane: Lane = "live",
        wait: bool = False,
        progress: Callable[[Receipt], None] | None = None,
    ) -> Receipt:
        """Replace vectors of stored points; vectors of other names and payloads stay. Raises as `upsert` does.

        points: as in `upsert`, without payloads; other columns of a table are left out. All have to be stored, each
        once. With a version a point is left alone that is stored with a higher one; the stored version stays.
        """
        parts, given = self._parts, Given(points, operation=Operation.VECTORS)
        return await deliver_upsert(parts.write_path(wait), collection, given, self._options, progress, lane)

    async def delete_vectors(
        self,
        collection: str,
        names: Sequence[str],
        ids: Sequence[Id] | None = None,
        *,
        filter: FilterLike | None = None,
        wait: bool = False,
    ) -> Receipt:
        """Remove vectors of these names ("" for the unnamed one) from points chosen by ids or by filter.

        Raises as `upsert` does; an empty filter is refused.
        """
        return await self._write_selection(
            Operation.VECTORS, ChangeVectors, collection, ids, filter, {"remove": list(names)}, wait
        )

    async def delete(
        self,
        collection: str,
        ids: Sequence[Id] | None = None,
        *,
        filter: FilterLike | None = None,
        version: int | None = None,
        wait: bool = False,
    ) -> Receipt:
        """Deletes by ids or by filter (Qdrant's REST grammar); an empty filter is refused. Raises as `upsert` does.

        version: deletes only those of the ids that are stored without a version or with a lower one.
        """
        return await self._write_selection(
            Operation.DELETE, Delete, collection, ids, filter, {"version": version}, wait
        )

    async def set_payload(
        self,
        collection: str,
        ids: Sequence[Id] | None = None,
        *,
        filter: FilterLike | None = None,
        set: Mapping[str, Any] | None = None,
        overwrite: Mapping[str, Any] | None = None,
        unset: Sequence[str] | None = None,
        clear: bool = False,
        key: str | None = None,
        wait: bool = False,
    ) -> Receipt:
        """Change payloads: `overwrite` replaces and `clear` empties them, `set` merges, `unset` removes keys, in turn.

        key: a path; `set` merges its keys into the object there, which is made where there is none.

        Raises as `upsert` does; an empty filter is refused.
        """
        change = {"set": set, "overwrite": overwrite, "unset": unset, "clear": clear or None, "key": key}
        return await self._write_selection(Operation.PAYLOAD, SetPayload, collection, ids, filter, change, wait)

    async def _write_selection(
        self,
        operation: Operation,
        model: type[Model],
        collection: str,
        ids: Sequence[Id] | None,
        filter: FilterLike | None,
        change: Mapping[str, Any],
        wait: bool,
    ) -> Receipt:
        parts, listed = self._parts, None if ids is None else wire_ids(ids)
        messages = selection(self._options.max_message_bytes, operation, model, collection, listed, filter, change)
        receipt = await Writes(parts.write_path(wait)).run(messages)
        return replace(receipt, points=None, complete=None) if listed is None else receipt
