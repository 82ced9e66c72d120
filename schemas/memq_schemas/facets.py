from typing import Annotated

from pydantic import Field

from memq_schemas.conditions import Key
from memq_schemas.filters import WholeFilter
from memq_schemas.limits import MAX_IDS
from memq_schemas.model import Input, Model


class Facet(Input):
    """Body of `facet.<collection>`: the values of a payload key and how many points have each, most frequent first.

    The key needs an index of type keyword, integer, uuid or bool.
    """

    key: Key
    limit: Annotated[int, Field(ge=1, le=MAX_IDS)] = 10
    exact: Annotated[bool, Field(description="count exactly, which takes longer")] = False
    filter: WholeFilter | None = None


class FacetValue(Model):
    value: str | int | bool
    count: Annotated[int, Field(ge=0)]


class Facets(Model):
    values: list[FacetValue]
