"""The wire as an AsyncAPI 3.0 document, as the worker sees it: operations received, replies and dead letters sent."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from memq_schemas import CODES, ErrorReply, Operation, Topology, headers, topology
from memq_schemas.topology import Queue
from schemas.operations import OPERATIONS
from schemas.properties import ARROW_STREAM, DEAD_LETTER_HEADERS, REQUEST_HEADERS, REQUEST_PROPERTIES
from schemas.wire_operation import WireOperation

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
BINDING = "0.3.0"
REF = "#/components/schemas/{model}"

# A dead letter has the content type that it was sent with.
_DEAD = {"DeadLetter": headers.JSON, "DeadLetterArrow": headers.ARROW_STREAM}


def _ref(section: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{section}/{name}"}


def _exchange(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "durable": True, "autoDelete": False, "vhost": "/"}


def _key(each: WireOperation) -> str:
    return each.title[0].lower() + each.title[1:]


def _titles(each: WireOperation) -> list[str]:
    """Messages of the channel, one for each content type."""
    return [each.title, f"{each.title}Arrow"] if each.operation is Operation.UPSERT else [each.title]


def _queue_of(each: WireOperation, layout: Topology) -> Queue:
    name = layout.names.write if each.operation.is_write else layout.names.query
    return next(queue for queue in layout.queues if queue.name == name)


def _request_channel(each: WireOperation, layout: Topology) -> dict[str, Any]:
    queue = _queue_of(each, layout)
    channel: dict[str, Any] = {
        "address": each.address,
        "title": each.address,
        "description": f"Routing key on the exchange {layout.names.commands}: {each.summary}.",
        "messages": {title: _ref("messages", title) for title in _titles(each)},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": _exchange(layout.names.commands, "topic"),
                "bindingVersion": BINDING,
            }
        },
        "x-queue": queue.name,
        "x-queue-arguments": queue.arguments,
    }
    if "{collection}" in each.address:
        channel["parameters"] = {"collection": _ref("parameters", "collection")}
    return channel


def _reply_channel(each: WireOperation) -> dict[str, Any]:
    return {
        "address": None,
        "description": "The queue that the request's reply_to property names, through the default exchange. "
        "A body with `result` is the success, one with `error` the failure; no body has both.",
        "messages": {
            f"{each.title}Reply": _ref("messages", f"{each.title}Reply"),
            "ErrorReply": _ref("messages", "ErrorReply"),
        },
    }


def _dead_channel(layout: Topology) -> dict[str, Any]:
    dead = next(queue for queue in layout.queues if queue.name == layout.names.dead)
    return {
        "address": dead.name,
        "description": "Writes that were refused or given up, unchanged but for their headers.",
        "messages": {title: _ref("messages", title) for title in _DEAD},
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": {"name": dead.name, "durable": True, "exclusive": False, "autoDelete": False, "vhost": "/"},
                "bindingVersion": BINDING,
            }
        },
        "x-queue-arguments": dead.arguments,
    }


def _channels(layout: Topology) -> dict[str, Any]:
    channels: dict[str, Any] = {}
    for each in OPERATIONS:
        channels[_key(each)] = _request_channel(each, layout)
        channels[f"{_key(each)}Reply"] = _reply_channel(each)
    return channels | {"dead": _dead_channel(layout)}


def _operation(each: WireOperation) -> dict[str, Any]:
    request, answer = f"#/channels/{_key(each)}", f"#/channels/{_key(each)}Reply"
    return {
        "action": "receive",
        "title": each.title,
        "summary": each.summary,
        "channel": {"$ref": request},
        "messages": [{"$ref": f"{request}/messages/{title}"} for title in _titles(each)],
        "bindings": {
            "amqp": {
                "deliveryMode": headers.PERSISTENT if each.operation.is_write else headers.TRANSIENT,
                "priority": headers.PRIORITY,
                "mandatory": True,
                "ack": True,
                "bindingVersion": BINDING,
            }
        },
        "reply": {
            "address": {
                "location": "$message.header#/reply_to",
                "description": "reply_to is the AMQP property, not an application header",
            },
            "channel": {"$ref": answer},
            "messages": [{"$ref": f"{answer}/messages/{name}"} for name in (f"{each.title}Reply", "ErrorReply")],
        },
    }


def _operations() -> dict[str, Any]:
    received = {_key(each): _operation(each) for each in OPERATIONS}
    return received | {
        "deadLetter": {
            "action": "send",
            "summary": "give up a write, with the reason in its headers",
            "channel": {"$ref": "#/channels/dead"},
            "messages": [{"$ref": f"#/channels/dead/messages/{title}"} for title in _DEAD],
        }
    }


def _message(title: str, summary: str, payload: Any, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"name": title, "title": title, "summary": summary, "contentType": headers.JSON}
    return given | {"payload": payload} | more


def _messages() -> dict[str, Any]:
    correlation = {"correlationId": _ref("correlationIds", "correlation_id")}
    request = correlation | {
        "headers": _ref("schemas", "RequestHeaders"),
        "x-amqp-properties": _ref("schemas", "RequestProperties"),
    }
    messages: dict[str, Any] = {}
    for each in OPERATIONS:
        messages[each.title] = _message(
            each.title,
            each.summary,
            _ref("schemas", each.body.__name__),
            examples=[{"payload": each.example}],
            **request,
        )
        for title in _titles(each)[1:]:
            columns = _ref("schemas", "ArrowStream")
            messages[title] = _message(title, each.summary, columns, **request | {"contentType": headers.ARROW_STREAM})
        messages[f"{each.title}Reply"] = _message(
            f"{each.title}Reply",
            "the result",
            _ref("schemas", f"{each.title}Reply"),
            examples=[{"payload": each.example_reply}],
            **correlation,
        )
    messages["ErrorReply"] = _message(
        "ErrorReply", "why there is no result", _ref("schemas", "ErrorReply"), **correlation
    )
    for title, content_type in _DEAD.items():
        messages[title] = _message(
            title,
            "a write that was given up",
            _ref("schemas", title),
            headers=_ref("schemas", "DeadLetterHeaders"),
            contentType=content_type,
        )
    return messages


def _schemas() -> dict[str, Any]:
    models = {each.body for each in OPERATIONS} | {each.reply for each in OPERATIONS} | {ErrorReply}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, found = models_json_schema([(model, "validation") for model in ordered], ref_template=REF)
    return {name: found["$defs"][name] for name in sorted(found["$defs"])} | {
        "ArrowStream": ARROW_STREAM,
        "RequestHeaders": REQUEST_HEADERS,
        "RequestProperties": REQUEST_PROPERTIES,
        "DeadLetterHeaders": DEAD_LETTER_HEADERS,
        "DeadLetter": {"description": "The body as it was sent: that of a write, or what was refused as one."},
        "DeadLetterArrow": ARROW_STREAM,
    }


def asyncapi() -> dict[str, Any]:
    layout = topology()
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "memq",
            "version": project["version"],
            "description": "Vectors through RabbitMQ into Qdrant, and answers back over reply queues. "
            "schemas/README.md explains what this document lists.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": headers.JSON,
        "channels": _channels(layout),
        "operations": _operations(),
        "components": {
            "messages": _messages(),
            "schemas": _schemas(),
            "parameters": {"collection": {"description": "name of the collection; it may contain dots"}},
            "correlationIds": {
                "correlation_id": {
                    "location": "$message.header#/correlation_id",
                    "description": "the AMQP property correlation_id, returned as it came",
                }
            },
        },
        "x-error-codes": {
            code.value: {"status": meaning.status, "retryable": meaning.retryable, "meaning": meaning.meaning}
            for code, meaning in CODES.items()
        },
    }
