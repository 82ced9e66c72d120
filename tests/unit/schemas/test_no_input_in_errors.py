"""Error texts go into replies, logs and dead-letter headers: they name fields, and never repeat what was in them."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from memq_schemas.ids import canonical_uuid
from memq_schemas.model import Model
from memq_schemas.routing import parse_routing_key
from memq_schemas.vectors import to_array
from schemas.operations import OPERATIONS
from tests.unit.schemas.test_bodies import ACCEPTED

CANARY = "canary-7fd1"
WRONG: list[Any] = [
    CANARY,
    [CANARY],
    {"key": CANARY},
    {"filter": {"must": [CANARY]}},
    73317331.5,
    -73317331,
    73317331**9,
]
DIGITS = "7331733"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def spoiled() -> Iterator[tuple[type[Model], Any]]:
    bodies = [*ACCEPTED, *((each.body, each.example) for each in OPERATIONS)]
    for model, body in bodies:
        for path in places(body):
            for wrong in WRONG:
                yield model, replaced(body, path, wrong)


def test_no_validation_error_repeats_its_input():
    refused = 0
    for model, body in spoiled():
        try:
            model.model_validate(body)
        except ValidationError as error:
            refused += 1
            for text in (str(error), str(error.errors(include_input=False)), error.json(include_input=False)):
                assert CANARY not in text
                assert DIGITS not in text
    assert refused > 500


@pytest.mark.parametrize("text", [CANARY, f"upsert.{CANARY}/", f"{CANARY}.docs", f"collections.{CANARY}.docs"])
def test_no_routing_key_error_repeats_it(text: str):
    with pytest.raises((LookupError, ValueError)) as caught:
        parse_routing_key(text)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("read", [canonical_uuid, to_array])
def test_no_value_error_repeats_the_text(read: Any):
    with pytest.raises(ValueError, match=r"a string id|base64") as caught:
        read(CANARY)
    assert CANARY not in str(caught.value)
