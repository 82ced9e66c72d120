"""Commands written as one leave what they would leave one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from memq_worker.pipeline.apply import merge_points, merge_vectors
from memq_worker.pipeline.batch import kind_of
from memq_worker.pipeline.store import PointsBatch
from tests.unit.worker.fakes import FakeLink, delivery, replacing, upserting

if TYPE_CHECKING:
    from memq_worker.pipeline.command import ReplaceVectors, UpsertPoints

Stored = dict[Any, tuple[Any, int | None]]
ids = st.integers(0, 3)
versions = st.none() | st.integers(0, 3)
messages = st.lists(st.lists(st.tuples(ids, versions), min_size=1, max_size=3), min_size=1, max_size=4)


def upsert(stored: Stored, points: PointsBatch) -> None:
    """Apply an upsert as Qdrant does: conditions are of the points as they were before it."""
    before = dict(stored)
    for index, point in enumerate(points.ids):
        there = before.get(point)
        version = points.versions[index] if points.versions else None
        if there is None:
            wanted = points.mode != "update_only"
        else:
            wanted = points.mode != "insert_only" and (version is None or there[1] is None or there[1] < version)
        if wanted:
            stored[point] = (points.columns[""][index], version)


def commands(mode: Any, given: list[list[tuple[int, int | None]]], *, versioned: bool) -> list[UpsertPoints]:
    made: list[UpsertPoints] = []
    for number, points in enumerate(given):
        distinct = dict(points)
        batch = PointsBatch(
            list(distinct),
            {"": [bytes([number])] * len(distinct)},
            [None] * len(distinct),
            [version or 0 for version in distinct.values()] if versioned else None,
            mode,
        )
        made.append(upserting(delivery(FakeLink(), 1, {}), "docs", batch))
    return made


@given(
    st.sampled_from(["upsert", "insert_only", "update_only"]), messages, st.booleans(), st.dictionaries(ids, versions)
)
def test_upserts_of_one_mode(mode: str, given: Any, versioned: bool, there: dict[int, int | None]) -> None:
    made = commands(mode, given, versioned=versioned)
    assert len({kind_of(command) for command in made}) == 1
    one_by_one: Stored = {point: (b"old", version) for point, version in there.items()}
    together = dict(one_by_one)
    for command in made:
        upsert(one_by_one, command.points)
    upsert(together, merge_points(made)[0])
    assert together == one_by_one


vectors = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.binary(min_size=4, max_size=4), min_size=1)


@given(st.lists(st.dictionaries(ids, vectors, min_size=1), min_size=1, max_size=4))
def test_changes_of_vectors(given: list[dict[int, dict[str, bytes]]]) -> None:
    made: list[ReplaceVectors] = []
    wanted: dict[int, dict[str, bytes]] = {}
    for points in given:
        names = {name for own in points.values() for name in own}
        columns: dict[str, Any] = {name: [own.get(name) for own in points.values()] for name in names}
        batch = PointsBatch(list(points), columns, [None] * len(points))
        made.append(replacing(delivery(FakeLink(), 1, {}), "docs", batch))
        for point, own in points.items():
            wanted.setdefault(point, {}).update(own)
    merged = merge_vectors(made)
    assert len(set(merged.ids)) == len(merged.ids)
    assert {
        point: {name: column[index] for name, column in merged.columns.items() if column[index] is not None}
        for index, point in enumerate(merged.ids)
    } == wanted
