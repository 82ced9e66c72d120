from collections.abc import Sequence
from typing import Any

from memq_qdrant import grpc
from memq_schemas import ErrorCode, Filter
from memq_worker.errors import MessageError
from memq_worker.pipeline.store import Id
from memq_worker.qdrant.encode import selector
from memq_worker.qdrant.reads import id_of


def check_stored(ids: Sequence[Id], found: Sequence[Any], place: str) -> None:
    """Raise MessageError for the first point that is not stored, before any is changed: place.format(index)."""
    stored = {id_of(point.id) for point in found}
    for index, wanted in enumerate(ids):
        if wanted not in stored:
            raise MessageError(ErrorCode.UNKNOWN_POINT, f"{place.format(index)}: no such point")


def removal_request(collection: str, ids: list[Id] | None, where: Filter | None, names: list[str]) -> Any:
    return grpc.DeletePointVectors(
        collection_name=collection,
        wait=True,
        points_selector=selector(ids, where),
        vectors=grpc.VectorsSelector(names=names),
    )
