"""Which indexes memq's own key takes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from memq_schemas import CreateIndex, DeleteIndex, IndexType


@pytest.mark.parametrize("fields", [{}, {"lookup": True, "range": True}, {"on_disk": True}])
def test_versions_take_an_integer_index(fields: dict[str, Any]) -> None:
    assert CreateIndex(key="_version", type=IndexType.INTEGER, **fields).key == "_version"
    assert DeleteIndex(key="_version").key == "_version"


@pytest.mark.parametrize(
    ("type_", "fields"),
    [
        *((type_, {}) for type_ in IndexType if type_ is not IndexType.INTEGER),
        (IndexType.INTEGER, {"lookup": False}),
        (IndexType.INTEGER, {"range": False}),
    ],
)
def test_versions_take_no_index_that_cannot_find_and_compare_them(type_: IndexType, fields: dict[str, Any]) -> None:
    CreateIndex(key="version", type=type_, **fields)
    with pytest.raises(ValidationError, match="type: "):
        CreateIndex(key="_version", type=type_, **fields)
