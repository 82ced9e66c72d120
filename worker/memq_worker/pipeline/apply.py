"""Commands of one batch as one write to the store."""

from collections.abc import Set as AbstractSet

from memq_worker.pipeline.command import ChangePayload, DeletePoints, RemoveVectors, ReplaceVectors, UpsertPoints, Write
from memq_worker.pipeline.store import Cell, Column, Id, PointsBatch, Store

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
        case ChangePayload(body=body, preserved=preserved):
            await store.set_payload(collection, body, preserved)
    return _NONE


def merge_points(commands: list[UpsertPoints]) -> tuple[PointsBatch, set[Write]]:
    """All points in one batch; of those with one id stays what would be left of writing them one by one.

    And the commands of which nothing is left because others have higher versions of all their points.
    """
    ids = [point for command in commands for point in command.ids]
    if len(set(ids)) == len(ids):
        return _joined(ids, [command.points for command in commands]), set()
    return _newest(commands)


def _joined(ids: list[Id], parts: list[PointsBatch]) -> PointsBatch:
    names = dict.fromkeys(name for part in parts for name in part.columns)
    columns: dict[str, Column] = {name: [] for name in names}
    for part in parts:
        for name, column in columns.items():
            column.extend(part.columns.get(name) or [None] * len(part))
    payloads = [payload for part in parts for payload in part.payloads]
    return PointsBatch(ids, columns, payloads, _versions(parts), parts[0].mode)


def _versions(parts: list[PointsBatch]) -> list[int | None] | None:
    if all(part.versions is None for part in parts):
        return None
    return [version for part in parts for version in part.versions or [None] * len(part)]


def _newest(commands: list[UpsertPoints]) -> tuple[PointsBatch, set[Write]]:
    places: dict[Id, tuple[PointsBatch, int]] = {}
    versioned = any(command.points.versions is not None for command in commands)
    first_wins = commands[0].points.mode == "insert_only"
    for command in commands:
        points = command.points
        for index, point in enumerate(points.ids):
            earlier = places.get(point)
            if earlier is None or not (first_wins or _keeps(_version(*earlier), _version(points, index))):
                places[point] = (points, index)
    names = {name for command in commands for name in command.points.columns}
    merged = PointsBatch(
        ids=list(places),
        columns={
            name: [points.columns[name][index] if name in points.columns else None for points, index in places.values()]
            for name in names
        },
        payloads=[points.payloads[index] for points, index in places.values()],
        versions=[points.versions[index] if points.versions else None for points, index in places.values()]
        if versioned
        else None,
        mode=commands[0].points.mode,
    )
    if first_wins:
        return merged, set()
    # Without versions all were applied, one after the other as it were; a lower version never is.
    left = {id(points) for points, _ in places.values()}
    return merged, {command for command in commands if versioned and id(command.points) not in left}


def _version(points: PointsBatch, index: int) -> int | None:
    return points.versions[index] if points.versions else None


def _keeps(earlier: int | None, later: int | None) -> bool:
    """Decide like the store between a stored point and a new one."""
    return earlier is not None and later is not None and earlier >= later


def merge_ids(commands: list[DeletePoints]) -> list[Id]:
    return list(dict.fromkeys(point for command in commands for point in command.ids or ()))


def merge_versions(commands: list[DeletePoints]) -> dict[Id, int]:
    """The ids of versioned deletes, each with the highest version it is to be deleted below."""
    versions: dict[Id, int] = {}
    for command in commands:
        for point in command.ids or ():
            versions[point] = max(versions.get(point, 0), command.version or 0)
    return versions


def merge_vectors(commands: list[ReplaceVectors]) -> PointsBatch:
    """All points in one batch; of those with one id stays the last vector of each name."""
    if len(commands) == 1:
        return commands[0].points
    found: dict[Id, dict[str, Cell]] = {}
    for command in commands:
        for index, point in enumerate(command.ids):
            own = found.setdefault(point, {})
            for name, column in command.points.columns.items():
                if (cell := column[index]) is not None:
                    own[name] = cell
    names = {name for own in found.values() for name in own}
    columns: dict[str, Column] = {name: [own.get(name) for own in found.values()] for name in names}
    return PointsBatch(list(found), columns, [None] * len(found))
