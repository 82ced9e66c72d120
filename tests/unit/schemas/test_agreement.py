"""Schema and worker agree about generated and mutated bodies, except where JSON Schema has no words: see EXCEPT."""

from __future__ import annotations

import copy
import json
import random
import re
from typing import TYPE_CHECKING, Any

import pytest

from memq_schemas import Filter
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.bodies import Limits, decode
from schemas.generate import README, json_schemas
from schemas.operations import OPERATIONS
from tests.unit.schemas.json_schema import Schema
from tests.unit.schemas.test_bodies import ACCEPTED
from tests.unit.worker.fakes import FakeLink, delivery

if TYPE_CHECKING:
    from schemas.wire_operation import WireOperation

LIMITS = Limits(max_body_bytes=8 * 2**20, max_points=1000)
MUTANTS = 2000  # of each operation
SCHEMAS = json_schemas()

# What a worker refuses and the schema takes, by the worker's words. The wire page names the same.
EXCEPT = {
    "an integer written as 1.0": r"expected an integer",
    "filters that select every point, or have a condition that is all null": r"every point",
    "reserved keys as paths": r"memq's own",
    "numbers beyond float32": r"float32|finite",
    "date-times that are on no calendar": r"date-time",
    "payloads too deep or with integers beyond 64 bits": r"levels deep|64 bits|point's vector",
    "sizes of whole filters": r"in a filter|of a filter",
    "bytes of names": r"bytes of UTF-8",
    "one name for a dense and a sparse vector": r"name of a dense vector",
    "another number of values than of indices, and an index twice": r"for each index|duplicate index",
    "rows of a multivector of different lengths, or more than 1,048,575 numbers": r"rows have one length|1048575",
}
VALUES: list[Any] = [
    None, True, 0, 1, -1, 1.5, 2**63, 2**64, "", "a", "AACAPw==", [], [1], ["a"], [None], {}, {"a": 1}, {"key": "a"},
    {"must": []}, {"has_id": [1]}, {"has_id": []}, [[1]], ["AACAPw=="],
    {"indices": [1], "values": [1]}, {"a": {"indices": [2, 1], "values": "AACAPwAAgD8="}},
    "x" * 300, 10_001, {"key": "a", "match": {"value": 1}},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def mutated(rng: random.Random, body: Any) -> Any:
    """The body with one value replaced, removed or added at a random place."""
    whole = [copy.deepcopy(body)]
    path = rng.choice(places(whole[0])) if rng.random() < 0.9 else ()
    at: Any = whole
    steps: list[Any] = [0, *path]
    for step in steps[:-1]:
        at = at[step]
    how = rng.random()
    inner = at[steps[-1]]
    if how < 0.2 and path and isinstance(at, dict):
        del at[steps[-1]]
    elif how < 0.4 and isinstance(inner, dict):
        inner[rng.choice(["must", "key", "has_id", "extra", "version", "filter", "vector", "limit", "text"])] = (
            rng.choice(VALUES)
        )
    elif how < 0.5 and isinstance(inner, list):
        inner.append(rng.choice(VALUES))
    else:
        at[steps[-1]] = copy.deepcopy(rng.choice(VALUES))
    return whole[0]


def verdict(each: WireOperation, body: Any) -> str:
    """The worker's refusal; empty for a body that it takes."""
    key = each.address.replace("{collection}", "docs")
    try:
        decode(delivery(FakeLink(), 1, json.dumps(body).encode(), key), LIMITS)
    except MessageError as error:
        return error.message
    return ""


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.operation.value)
def test_schema_and_worker_agree(each: WireOperation) -> None:
    rng = random.Random(each.operation.value)
    schema = Schema(SCHEMAS[each.operation.value])
    seeds = [each.example, *(body for model, body in ACCEPTED if model is each.body)]
    both = {True: 0, False: 0}
    for _ in range(MUTANTS):
        body = rng.choice(seeds)
        for _ in range(rng.randint(1, 3)):
            body = mutated(rng, body)
        if re.search("Cosine|DOT", json.dumps(body)):
            continue  # the schema lists one spelling of a distance, the worker reads every case
        refused = verdict(each, body)
        taken = schema.accepts(body)
        both[taken] += 1
        if taken and refused:
            assert any(re.search(words, refused) for words in EXCEPT.values()), (body, refused)
        else:
            assert taken == (not refused), (body, refused)
    assert both[False], "some are refused"


def test_the_page_names_the_exceptions() -> None:
    page = README.read_text("utf-8")
    for name in EXCEPT:
        assert f"- {name}" in page


def test_a_condition_is_one_class_in_the_schema() -> None:
    assert "Condition" in Filter.model_json_schema()["$defs"]
