import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from memq_schemas import CODES, ErrorCode, ErrorReply, Filter, definitions, headers, topology
from memq_schemas.model import Model
from schemas import generate
from schemas.generate import ROOT, files, json_schemas
from schemas.operations import OPERATIONS
from schemas.wire_operation import WireOperation
from tests.unit.schemas.json_schema import Schema
from tests.unit.schemas.strategies import FILTERS
from tests.unit.schemas.test_bodies import ACCEPTED, REFUSED
from tests.unit.schemas.test_filters import REFUSED as REFUSED_FILTERS


def by_operation(each: WireOperation) -> str:
    return each.operation.value


def body_schema(model: type[Model]) -> Schema:
    return Schema(model.model_json_schema())


def test_no_generated_file_is_stale():
    assert [str(path.relative_to(ROOT)) for path in files().stale()] == []


def test_a_changed_model_makes_every_file_that_shows_it_stale(monkeypatch: pytest.MonkeyPatch):
    code = ErrorCode.OVERLOADED
    monkeypatch.setitem(CODES, code, replace(CODES[code], status=420))
    found = {str(path.relative_to(ROOT)) for path in files().stale()}
    assert found == {"schemas/json/codes.json", "schemas/asyncapi.json", "schemas/README.md"}


def test_check_names_the_stale_files_and_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert files().command() == 0
    monkeypatch.setattr(generate, "asyncapi", dict)
    assert files().command() == 1
    assert capsys.readouterr().err == "stale: schemas/asyncapi.json; run python -m schemas.generate\n"


def test_the_code_table_has_every_code():
    table = json.loads((ROOT / "schemas/json/codes.json").read_text("utf-8"))["codes"]
    assert set(table) == {code.value for code in ErrorCode} == {code.value for code in CODES}
    for code, meaning in CODES.items():
        assert table[code.value] == {
            "status": meaning.status,
            "retryable": meaning.retryable,
            "meaning": meaning.meaning,
        }


def test_there_is_a_schema_for_every_body_and_every_reply():
    wanted = {f"{each.operation.value}{part}" for each in OPERATIONS for part in ("", ".reply")}
    assert set(json_schemas()) == wanted | {"error.reply"}


@pytest.mark.parametrize("each", OPERATIONS, ids=by_operation)
def test_examples_satisfy_their_schemas(each: WireOperation):
    schemas = json_schemas()
    assert Schema(schemas[each.operation.value]).accepts(each.example)
    assert Schema(schemas[f"{each.operation.value}.reply"]).accepts(each.example_reply)


# The schema lists one spelling of a distance; the model reads every case.
ONE_SPELLING = [(model, body) for model, body in ACCEPTED if not re.search("Cosine|DOT", str(body))]


@pytest.mark.parametrize(("model", "body"), ONE_SPELLING)
def test_the_schema_takes_what_the_model_takes(model: type[Model], body: dict[str, Any]):
    assert body_schema(model).accepts(body)


# What JSON Schema has no words for, or what is no JSON: 1.0 is its integer, and numbers have no largest one.
BEYOND_JSON_SCHEMA: list[Any] = [
    {"points": [{"id": 1.0, "vector": [1.0]}]},
    {"points": [{"id": 1, "vector": [1.0], "version": 1.0}]},
    {"ids": [1], "version": 1.0},
    {"points": [{"id": 1, "vector": [10**400]}]},
    {"vector": [1.0], "score_threshold": 10**400},
    {"vector": [1.0], "score_threshold": float("inf")},
    {"filter": {}},
    {"filter": {"must": [{}]}},
    {"filter": {}, "set": {"a": 1}},
    {"ids": [1], "unset": ["_version"]},
    {"ids": [1], "unset": ['"_version"']},
    {"ids": [1], "unset": ["_version.a"]},
    {"vectors": {"a": {"size": 1}}, "sparse_vectors": {"a": {}}},
]
SAYABLE = [(model, body) for model, body in REFUSED if body not in BEYOND_JSON_SCHEMA and "nan" not in str(body)]


@pytest.mark.parametrize(("model", "body"), SAYABLE)
def test_the_schema_refuses_what_the_model_refuses(model: type[Model], body: Any):
    assert not body_schema(model).accepts(body)


FILTER = Schema(Filter.model_json_schema())


@settings(max_examples=40)  # the validator below is the slowest thing here
@given(FILTERS)
def test_the_schema_takes_every_filter_that_the_model_takes(body: dict[str, Any]):
    assert FILTER.accepts(body)


SAYABLE_FILTERS = REFUSED_FILTERS.keys() - {"range of a day that is not", "range beyond doubles"}


@pytest.mark.parametrize("name", sorted(SAYABLE_FILTERS))
def test_the_schema_refuses_filters_that_the_model_refuses(name: str):
    assert not FILTER.accepts(REFUSED_FILTERS[name])


def test_definitions_are_the_topology():
    file = json.loads((ROOT / "rabbitmq/definitions.json").read_text("utf-8"))
    layout = topology()
    assert file == definitions(layout)
    assert "users" not in file
    assert {queue["name"]: queue["arguments"] for queue in file["queues"]} == {
        queue.name: queue.arguments for queue in layout.queues
    }
    assert {(b["source"], b["destination"], b["routing_key"]) for b in file["bindings"]} == {
        (b.exchange, b.queue, b.routing_key) for b in layout.bindings
    }


class TestAsyncApi:
    document = json.loads((ROOT / "schemas/asyncapi.json").read_text("utf-8"))

    def resolve(self, reference: dict[str, str]) -> Any:
        node: Any = self.document
        for step in reference["$ref"].removeprefix("#/").split("/"):
            node = node[step.replace("~1", "/")]
        return node

    def test_every_reference_leads_somewhere(self):
        def walk(node: Any) -> None:
            if isinstance(node, dict):
                if "$ref" in node:
                    self.resolve(node)
                for inner in node.values():
                    walk(inner)
            elif isinstance(node, list):
                for inner in node:
                    walk(inner)

        walk(self.document)

    def test_every_operation_is_received_and_answered(self):
        received = [op for op in self.document["operations"].values() if op["action"] == "receive"]
        assert {self.resolve(op["channel"])["address"] for op in received} == {each.address for each in OPERATIONS}
        for operation in received:
            answer = self.resolve(operation["reply"]["channel"])
            assert answer["address"] is None
            assert operation["reply"]["address"]["location"] == "$message.header#/reply_to"
            assert len(operation["reply"]["messages"]) == len(answer["messages"]) == 2

    def test_only_an_upsert_takes_arrow_as_well(self):
        for each in OPERATIONS:
            name = next(n for n, channel in self.document["channels"].items() if channel["address"] == each.address)
            operation = next(
                o for o in self.document["operations"].values() if o["channel"]["$ref"].endswith(f"/{name}")
            )
            types = {self.resolve(self.resolve(message))["contentType"] for message in operation["messages"]}
            assert types == ({headers.JSON, headers.ARROW_STREAM} if each.title == "Upsert" else {headers.JSON})

    def test_queue_arguments_are_the_topology_s(self):
        arguments = {queue.name: queue.arguments for queue in topology().queues}
        for channel in self.document["channels"].values():
            if "x-queue-arguments" in channel:
                name = channel.get("x-queue") or channel["bindings"]["amqp"]["queue"]["name"]
                assert channel["x-queue-arguments"] == arguments[name]

    def test_its_codes_are_the_table(self):
        assert self.document["x-error-codes"] == generate.codes_table()["codes"]

    @pytest.mark.parametrize("each", OPERATIONS, ids=by_operation)
    def test_a_body_on_a_channel_is_exactly_one_of_its_messages(self, each: WireOperation):
        failure = ErrorReply.model_validate(
            {"status": 404, "error": {"code": "x", "message": "y", "retryable": False}, "elapsed_ms": 1.0}
        ).model_dump(exclude_none=True)
        bodies = {each.address: [each.example], "reply": [each.example_reply, failure]}
        name = next(n for n, channel in self.document["channels"].items() if channel["address"] == each.address)
        for key, channel in ((each.address, name), ("reply", f"{name}Reply")):
            messages = [self.resolve(m) for m in self.document["channels"][channel]["messages"].values()]
            schemas = [{**self.resolve(m["payload"]), "components": self.document["components"]} for m in messages]
            for body in bodies[key]:
                assert sum(AsyncSchema(schema).accepts(body) for schema in schemas) == 1


class AsyncSchema(Schema):
    def _components(self, wanted: Any, value: Any) -> bool:
        return True
