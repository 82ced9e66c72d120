"""Last writer wins, in the form in which memq's workers ask for it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from qdrant_client import grpc as q

from memq_engine.convert.bounds import Bounds, read_bounds
from memq_worker.qdrant import encode
from memq_worker.qdrant.encode import older_than
from tests.contract.messages import between, dense, has_id, must, point
from tests.contract.store import refusal

if TYPE_CHECKING:
    from tests.contract.store import Store

AT = dense(1, 0, 0, 0)
NUMBERS = [None, 4, 5, 6, 4.5, 5.0, 5.5, -5, 0, 2**53 - 1]
OTHERS = ["9", [1, 9], [], True, {"at": 9}]
Key = int | str


def reached(bound: float, *keys: Key, name: str = "_version") -> Any:
    return q.Condition(filter=must(has_id(*keys), between(name, gte=bound)))


def not_any(*conditions: Any) -> Any:
    return q.Filter(must_not=conditions)


def newer_only(keys: list[Key], versions: list[int | None]) -> Any:
    return q.Filter.FromString(encode.newer_only(keys, versions))


def numbers(count: int) -> list[Key]:
    return list(range(1, count + 1))


def uuids(count: int) -> list[Key]:
    return [str(uuid.UUID(int=(0xABCDEF << 100) + number)) for number in range(count)]


def one_each(keys: list[Key]) -> Any:
    return not_any(*[reached(5 + number % 2 * 1e9, key) for number, key in enumerate(keys)])


def in_groups(keys: list[Key]) -> Any:
    return not_any(reached(5, *keys[:4]), reached(4, keys[4]), reached(6, *keys[5:-1]))


def in_two_groups(keys: list[Key]) -> Any:
    return not_any(*[reached(bound, key) for key in keys for bound in (4, 1000)])


def of_two_keys(keys: list[Key]) -> Any:
    return not_any(*[reached(5, key, name="_revised" if number % 2 else "_version") for number, key in enumerate(keys)])


def of_a_path(keys: list[Key]) -> Any:
    return not_any(*[reached(5, key, name='"_version"') for key in keys])


def shouted(keys: list[Key]) -> Any:
    return not_any(*[reached(5, str(key).upper()) for key in keys])


def with_another_bound(keys: list[Key]) -> Any:
    wide = [q.Condition(filter=must(has_id(key), between("_version", gte=5, lte=1000))) for key in keys]
    return not_any(*wide)


@pytest.mark.parametrize(
    ("ids", "condition"),
    [
        (numbers, one_each),
        (uuids, one_each),
        (numbers, in_groups),
        (uuids, in_groups),
        (uuids, in_two_groups),
        (uuids, of_two_keys),
        (uuids, of_a_path),
        (uuids, shouted),
        (uuids, with_another_bound),
    ],
)
@pytest.mark.parametrize("stored", [NUMBERS, NUMBERS + OTHERS], ids=["numbers", "anything"])
async def test_a_bound_for_each_id_is_a_filter_like_any_other(
    store: Store, collection: str, ids: Any, condition: Any, stored: list[Any]
) -> None:
    """The embedded engine judges it itself; said with one more level around it, the same filter is the store's."""
    keys = ids(len(stored) + 1)
    said = condition(keys)
    written: list[dict[Key, Any]] = []
    for given in (said, must(q.Condition(filter=said))):
        before = [
            point(key, AT) if value is None else point(key, AT, _version=value, _revised=5)
            for key, value in zip(keys, stored, strict=False)
        ]
        await store.upsert(collection, *before)
        # The last is new, and the ids are spelled as Qdrant takes them, not as it gives them.
        after = [point(key if isinstance(key, int) else key.upper(), AT, new=True) for key in keys]
        await store.upsert(collection, *after, update_filter=given)
        written.append(await store.payloads(collection, *keys))
        await store.points.Delete(
            q.DeletePoints(collection_name=collection, wait=True, points=q.PointsSelector(filter=must(has_id(*keys))))
        )
    assert written[0] == written[1]
    assert written[0][keys[-1]] == {"new": True}
    assert 1 < sum(payload == {"new": True} for payload in written[0].values()) < len(keys)


async def test_a_bound_without_an_id_is_refused(store: Store, collection: str) -> None:
    nothing = q.Condition(has_id=q.HasIdCondition(has_id=[q.PointId()]))
    said = not_any(q.Condition(filter=must(nothing, between("_version", gte=1))))
    request = q.UpsertPoints(collection_name=collection, points=[point(0, AT)], update_filter=said)
    code, _ = await refusal(store.points.Upsert(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_upsert_that_is_all_too_old_changes_nothing(store: Store, collection: str) -> None:
    keys = uuids(3)
    await store.upsert(collection, *[point(key, AT, _version=5) for key in keys])
    stale = [point(key, AT, _version=4) for key in keys]
    await store.upsert(collection, *stale, update_filter=newer_only(keys, [4, 3, 2]))
    assert await store.payloads(collection, *keys) == {key: {"_version": 5} for key in keys}


@pytest.mark.parametrize("mode", [q.UpdateMode.InsertOnly, q.UpdateMode.UpdateOnly])
async def test_a_mode_goes_with_a_bound(store: Store, collection: str, mode: Any) -> None:
    await store.upsert(collection, point(1, AT, _version=5), point(2, AT, _version=5))
    points = [point(key, AT, new=True) for key in (1, 2, 3)]
    await store.upsert(collection, *points, update_filter=newer_only([1, 2, 3], [6, 5, 1]), update_mode=mode)
    old, new = {"_version": 5}, {"new": True}
    expected = {1: old, 2: old, 3: new} if mode == q.UpdateMode.InsertOnly else {1: new, 2: old}
    assert await store.payloads(collection, 1, 2, 3) == expected


def test_a_version_for_each_point_is_one_group_for_each_version() -> None:
    first, second, third = uuids(3)
    short = f"{third}".replace("-", "")
    said = newer_only([first, 7, short, second, third, 8, 9], [0, 2**53 - 1, 3, 4, None, 4, 0])
    groups = reached(0, first, 9), reached(2**53 - 1, 7), reached(3, short), reached(4, second, 8)
    assert said == not_any(*groups)
    assert newer_only([first, second], [1, 0]) == not_any(reached(1, first), reached(0, second))
    assert older_than({first: 2, 7: 2, second: 3}) == q.Filter(
        must=[has_id(first, 7, second)], must_not=[reached(2, first, 7), reached(3, second)]
    )


def test_the_engine_knows_the_condition_that_the_worker_sends() -> None:
    """Were it read as any other filter, the answers would be the same, at twice the cost."""
    first, second, third, fourth = uuids(4)
    groups = Bounds("_version", {first: 3, second: 4, fourth: 4, 1: 5, 2: 5})
    assert read_bounds(newer_only([first, second, third, fourth, 1, 2], [3, 4, None, 4, 5, 5])) == groups
    each = Bounds("_version", {first: 1, second: 2, third: 3})
    assert read_bounds(newer_only([first, second, third], [1, 2, 3])) == each
