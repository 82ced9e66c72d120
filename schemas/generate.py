"""Writes what other languages and the broker read: JSON Schemas, the AsyncAPI document, RabbitMQ's definitions.

python -m schemas.generate           writes the files
python -m schemas.generate --check   writes nothing; exits 1 and names the files that are stale
"""

import json
import sys
from pathlib import Path
from typing import Any, cast

from pydantic.json_schema import models_json_schema

from memq_schemas import CODES, ErrorReply, definitions, topology
from schemas.asyncapi import asyncapi
from schemas.operations import OPERATIONS
from stack.generated import Generated

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "schemas/README.md"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

FIRST = ("$schema", "title", "description", "type", "examples")


def codes_table() -> dict[str, Any]:
    """The code table as JSON: what a client in another language needs to decide whether to send again."""
    return {
        "title": "ErrorCodes",
        "description": "error.code in replies, x-error-code in dead letters. Treat an unknown code by its status.",
        "codes": {
            code.value: {"status": meaning.status, "retryable": meaning.retryable, "meaning": meaning.meaning}
            for code, meaning in CODES.items()
        },
    }


def codes_markdown() -> str:
    """The same table for people."""
    rows = [
        f"| `{code.value}` | {meaning.status} | {'yes' if meaning.retryable else 'no'} | {meaning.meaning} |"
        for code, meaning in sorted(CODES.items(), key=lambda item: item[1].status)
    ]
    return "\n".join(["| code | status | retryable | meaning |", "|---|---|---|---|", *rows])


def readme() -> str:
    """The README as it is, with its table of codes renewed."""
    before, opening, rest = README.read_text("utf-8").partition("<!-- codes: generated -->\n")
    _, closing, after = rest.partition("<!-- end of codes -->\n")
    if not (opening and closing):
        raise ValueError(f"{README.name}: the marks around the table of codes are gone")
    return f"{before}{opening}{codes_markdown()}\n{closing}{after}"


def _arranged(schema: dict[str, Any]) -> dict[str, Any]:
    schema = {"$schema": DIALECT, **schema}
    first = {key: schema[key] for key in FIRST if key in schema}
    return (
        first
        | {key: schema[key] for key in sorted(schema) if key not in FIRST and key != "$defs"}
        | ({"$defs": schema["$defs"]} if "$defs" in schema else {})
    )


def json_schemas() -> dict[str, dict[str, Any]]:
    """One schema per body and reply, by file name; bodies are named by the operation in their routing key."""
    found: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        body = each.body.model_json_schema() | {
            "title": each.title,
            "description": f"Body of `{each.address}`: {each.summary}.",
            "examples": [each.example],
        }
        reply = each.reply.model_json_schema() | {
            "description": f"The reply to `{each.address}` when it succeeded.",
            "examples": [each.example_reply],
        }
        found[each.operation.value] = _arranged(body)
        found[f"{each.operation.value}.reply"] = _arranged(reply)
    found["error.reply"] = _arranged(
        ErrorReply.model_json_schema() | {"description": "The reply to any operation that failed."}
    )
    return found


def types_schema() -> dict[str, Any]:
    """All bodies and replies in one schema, so that a generator makes each type once and names it as it is called."""
    models = {each.body for each in OPERATIONS} | {each.reply for each in OPERATIONS} | {ErrorReply}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, found = models_json_schema([(model, "validation") for model in ordered])
    return {
        "$schema": DIALECT,
        "title": "Memq",
        "description": "Every body and reply by name, for generators of types; the other files are single bodies.",
        "$defs": {name: _any_json(found["$defs"][name]) for name in sorted(found["$defs"]) if name != "JsonValue"},
    }


def _any_json(schema: Any) -> Any:
    """The schema with JSON values of any kind written as {}: a type without a form has no place among the others."""
    if isinstance(schema, dict):
        fields = cast("dict[str, Any]", schema)
        if fields.get("$ref") == "#/$defs/JsonValue":
            return {}
        return {name: _any_json(inner) for name, inner in fields.items()}
    return [_any_json(each) for each in cast("list[Any]", schema)] if isinstance(schema, list) else schema


def generated() -> dict[Path, str]:
    """Every generated file with its text."""
    documents: dict[str, Any] = {f"schemas/json/{name}.json": schema for name, schema in json_schemas().items()}
    documents["schemas/json/codes.json"] = codes_table()
    documents["schemas/json/types.json"] = types_schema()
    documents["schemas/asyncapi.json"] = asyncapi()
    documents["rabbitmq/definitions.json"] = definitions(topology())
    texts = {ROOT / name: json.dumps(each, indent=2, ensure_ascii=False) + "\n" for name, each in documents.items()}
    return texts | {README: readme()}


def files() -> Generated:
    """All files of this generator."""
    return Generated("schemas.generate", __doc__ or "", ROOT, generated, ROOT / "schemas/json")


if __name__ == "__main__":
    sys.exit(files().command())
