"""The wire's README is what people without our code go by, so its examples are bodies and its numbers are ours."""

import json
import re
from typing import Any

import pytest

from memq_schemas import CODES, ErrorReply, Filter, ResultReply, headers, limits, topology
from memq_schemas.ids import NAMESPACE
from memq_schemas.multivectors import MAX_NUMBERS, MAX_ROWS
from memq_schemas.points import VERSION_KEY
from memq_schemas.topology import REQUEST_TTL_MS, RETRY_SECONDS
from schemas.generate import README
from schemas.operations import OPERATIONS
from schemas.wire_operation import WireOperation

TEXT = README.read_text("utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def section(title: str) -> str:
    _, found, rest = TEXT.partition(f"\n{title}\n")
    assert found, title
    return re.split(r"\n##+ ", rest)[0]


def json_blocks(text: str) -> list[Any]:
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.operation.value)
def test_every_operation_has_a_body_and_a_result_that_hold(each: WireOperation):
    body, result = json_blocks(section(f"### `{each.address.replace('{collection}', '<collection>')}`"))
    each.body.model_validate(body)
    each.reply.model_validate({"status": 200, "result": result, "elapsed_ms": 1.0})


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.operation.value)
def test_every_field_of_a_body_is_mentioned(each: WireOperation):
    text = section(f"### `{each.address.replace('{collection}', '<collection>')}`")
    for name in each.body.model_fields:
        assert f"`{name}`" in text or f'"{name}"' in text


def test_the_replies_hold():
    success, failure = json_blocks(section("## Replies"))
    ResultReply.model_validate(success)
    reply = ErrorReply.model_validate(failure)
    assert reply.status == next(meaning.status for code, meaning in CODES.items() if code == reply.error.code)


def test_the_table_of_codes_is_the_code():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (yes|no) \| (.+) \|$", TEXT, re.MULTILINE)
    assert {code: (int(status), retryable == "yes", meaning) for code, status, retryable, meaning in rows} == {
        code.value: (meaning.status, meaning.retryable, meaning.meaning) for code, meaning in CODES.items()
    }


@pytest.mark.parametrize("snippet", [s for s in SNIPPETS if "pika" not in s])
def test_snippets_without_a_broker_run(snippet: str):
    assert "assert " in snippet
    exec(snippet, {})


def test_names_and_numbers_are_ours():
    assert str(NAMESPACE) in TEXT
    assert f"`{VERSION_KEY}`" in TEXT
    assert f"({', '.join(map(str, RETRY_SECONDS))})" in TEXT
    assert f"at most {REQUEST_TTL_MS // 1000} seconds" in TEXT
    assert f"**{headers.PRIORITY}, always**" in TEXT
    for name in (headers.DEADLINE, headers.RETRY_COUNT, headers.TRACEPARENT, headers.ERROR_CODE, headers.ERROR_STAGE):
        assert f"`{name}`" in TEXT
    for name in (headers.EXCEPTION_CLASS, headers.EXCEPTION_MESSAGE, headers.FIRST_FAILED_AT, headers.LAST_FAILED_AT):
        assert f"`{name}`" in TEXT
    assert {"memq.write", "memq.query", "memq.dead", "memq.suspect"} < {queue.name for queue in topology().queues}


def test_the_limits_are_ours():
    table = section("### Limits")
    for limit in (
        limits.MAX_VALUES,
        limits.MIN_VALUES,
        limits.MAX_CONTAINERS,
        limits.MAX_VECTORS,
        limits.MAX_NAMED_VECTORS,
        MAX_ROWS,
        MAX_NUMBERS,
        limits.MAX_VECTOR_NAME,
        limits.MAX_CONDITIONS,
        limits.MAX_FILTER_DEPTH,
        limits.MAX_FILTER_VALUES,
        limits.MAX_KEYS,
        limits.MAX_KEY,
        limits.MAX_IDS,
        limits.MAX_RECORD_BATCHES,
    ):
        assert f"| {limit:,} |" in table


def test_the_filter_conditions_named_are_those_there_are():
    line = section("## Values").partition("**Filters**")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", line))
    defs = Filter.model_json_schema()["$defs"]
    fields = {name for model in defs.values() for name in model.get("properties", {})}
    inner = {"key", "lt", "gt", "gte", "lte", "lon", "lat", "center", "radius", "top_left", "bottom_right"}
    inner |= {"exterior", "interiors", "points"}
    assert named == fields - inner - {"conditions", "min_count", "filter"}
