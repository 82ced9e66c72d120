from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memq.deliver.batches import chunks
from memq.deliver.writes import Part
from memq.encode.requests import body

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import orjson

    from memq.deliver.calls import Calls
    from memq.encode.requests import RestModel
    from memq_schemas import Filter, Operation
    from memq_schemas.model import Model

IDS_PER_MESSAGE = 1000


def selected(
    calls: Calls,
    operation: Operation,
    model: type[Model],
    collection: str,
    ids: list[orjson.Fragment] | None,
    filter: Mapping[str, Any] | Filter | RestModel | None,
    change: Mapping[str, Any],
) -> Iterator[Part]:
    """The messages of a write that names its points by ids or by filter."""
    if ids is None or filter is not None:
        text = body(model, {"ids": ids, "filter": filter, **change})
        yield Part(range(0), calls.outgoing(operation, collection, text), last=True)
        return
    for part in chunks(ids, IDS_PER_MESSAGE):
        text = body(model, {"ids": ids[part.start : part.stop], **change})
        yield Part(part, calls.outgoing(operation, collection, text), last=part.stop == len(ids))
