from collections.abc import Set as AbstractSet

from memq_worker.pipeline.command import ChangePayload, DeletePoints, RemoveVectors, ReplaceVectors, UpsertPoints, Write
from memq_worker.pipeline.merge import merge_ids, merge_points, merge_vectors, merge_versions
from memq_worker.pipeline.store import Store

_NONE: frozenset[Write] = frozenset()


async def apply(store: Store, collection: str, commands: list[Write]) -> AbstractSet[Write]:
    """Write commands of one kind as one. Raises what the store raises.

    Return those of which nothing had to be written, since others among them have higher versions.
    """
    match commands[0]:
        case UpsertPoints():
            points, superseded = merge_points([c for c in commands if isinstance(c, UpsertPoints)])
            await store.upsert(collection, points)
            return superseded
        case ReplaceVectors():
            vectors = merge_vectors([c for c in commands if isinstance(c, ReplaceVectors)])
            await store.update_vectors(collection, vectors)
        case RemoveVectors(body=body, names=names):
            await store.delete_vectors(collection, body.ids, body.filter, names)
        case DeletePoints(body=body) if body.ids is None:
            await store.delete(collection, None, body.filter)
        case DeletePoints(version=None):
            ids = merge_ids([c for c in commands if isinstance(c, DeletePoints)])
            await store.delete(collection, ids, None)
        case DeletePoints():
            versions = merge_versions([c for c in commands if isinstance(c, DeletePoints)])
            await store.delete_older(collection, versions)
        case ChangePayload(body=body, kept=kept):
            await store.set_payload(collection, body, kept)
    return _NONE
