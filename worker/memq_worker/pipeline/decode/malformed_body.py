"""Errors about bodies that are not JSON: what is wrong, and in which point."""

import json
import re

import orjson

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError

_UTF8 = "text that is not UTF-8"
_SURROGATE = "half of a surrogate pair in a text"
_HALF = re.compile("[\ud800-\udfff]")
_LOOKED_AT_BYTES = 2**20  # a larger body is not read once more to find the point


def malformed(body: bytes, reason: str = "") -> MessageError:
    """Return the error for a body that is not JSON. `reason` is used where the parser here finds nothing wrong."""
    return MessageError(ErrorCode.MALFORMED, f"{_place(body)}: not JSON: {_reason(body) or reason}", stage="decode")


def _reason(text: bytes) -> str:
    """Describe the error in the JSON text; empty if there is none."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if error.msg.startswith("str is not valid UTF-8"):
            return _UTF8
        return error.msg.replace("no low surrogate in string", _SURROGATE).partition(": line ")[0]
    return ""


def _place(body: bytes) -> str:
    reason = _reason(body)
    if reason not in (_UTF8, _SURROGATE) or len(body) > _LOOKED_AT_BYTES:
        return "body"
    try:
        # Python's parser takes half a pair; the bytes that are not UTF-8 become one.
        points = json.loads(body.decode("utf-8", "surrogateescape"))["points"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "body"
    texts = (json.dumps(point, ensure_ascii=False) for point in points)
    return next((f"points[{index}]" for index, text in enumerate(texts) if _HALF.search(text)), "body")
