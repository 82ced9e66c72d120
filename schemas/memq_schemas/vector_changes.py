from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict, JsonValue

from memq_schemas.ids import PointId
from memq_schemas.limits import MAX_NAMED_VECTORS
from memq_schemas.model import Input, Model
from memq_schemas.point_vectors import Vector
from memq_schemas.points import SelectedIds, SelectingFilter, Version
from memq_schemas.vectors import VectorName


class PointVectors(Input):
    """The new vectors of one stored point. Vectors of other names stay as they are."""

    siblings: ClassVar[frozenset[str]] = frozenset({"payload"})

    id: PointId
    vector: Vector
    version: Annotated[
        Version | None,
        Field(description="of the point that they belong to: a point stored with a higher version is left alone"),
    ] = None


def _changes_schema(schema: JsonDict) -> None:
    null: JsonDict = {"type": "null"}
    some: JsonDict = {"not": null}
    replace: JsonDict = {
        "required": ["points"],
        "properties": {"points": some, "ids": null, "filter": null, "remove": null},
    }
    remove: list[JsonValue] = [
        {
            "required": [chosen, "remove"],
            "properties": {"points": null, "remove": some, chosen: some, other: null},
        }
        for chosen, other in (("ids", "filter"), ("filter", "ids"))
    ]
    schema["oneOf"] = [replace, *remove]


class ChangeVectors(Input):
    """Body of `vectors.<collection>`: replace vectors of `points`, or `remove` some from `ids` or a `filter`."""

    model_config = ConfigDict(json_schema_extra=_changes_schema)
    siblings: ClassVar[frozenset[str]] = frozenset({"mode"})

    points: Annotated[list[PointVectors], Field(fail_fast=True, min_length=1)] | None = None
    ids: SelectedIds | None = None
    filter: SelectingFilter | None = None
    remove: (
        Annotated[
            list[VectorName],
            Field(
                fail_fast=True,
                min_length=1,
                max_length=MAX_NAMED_VECTORS,
                description='names of vectors; the unnamed one is ""',
            ),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _one_change(self) -> "ChangeVectors":
        if (self.points is None) == (self.remove is None):
            raise ValueError("exactly one of points and remove is needed")
        if self.points is not None:
            if self.ids is not None or self.filter is not None:
                raise ValueError("ids, filter: only with remove; points name their own ids")
            ids = [point.id for point in self.points]
            if len(set(ids)) != len(ids):
                raise ValueError(f"points: {TWICE}")
        elif (self.ids is None) == (self.filter is None):
            raise ValueError("exactly one of ids and filter is needed with remove")
        return self


TWICE = "duplicate id in one message"


class VectorsChanged(Model):
    updated: Annotated[
        int | None,
        Field(description="points or ids in the message, those included that a version left alone; null for a filter"),
    ]
