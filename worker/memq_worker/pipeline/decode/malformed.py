"""Errors about bodies that are not JSON: what is wrong, and in which point."""

import msgspec
import orjson

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError


class _RawPoints(msgspec.Struct):
    points: list[msgspec.Raw]


_raw_points = msgspec.json.Decoder(_RawPoints)
_UTF8 = "text that is not UTF-8"
_SURROGATE = "half of a surrogate pair in a text"


def malformed(body: bytes, reason: str = "") -> MessageError:
    """Return the error for a body that is not JSON. `reason` is used where the parser here finds nothing wrong."""
    return MessageError(ErrorCode.MALFORMED, f"{_place(body)}: not JSON: {_reason(body) or reason}", stage="decode")


def _reason(text: bytes | msgspec.Raw) -> str:
    """What is wrong with the JSON; empty if nothing is."""
    try:
        orjson.loads(memoryview(text))
    except orjson.JSONDecodeError as error:
        if error.msg.startswith("str is not valid UTF-8"):
            return _UTF8
        return error.msg.replace("no low surrogate in string", _SURROGATE).partition(": line ")[0]
    return ""


def _place(body: bytes) -> str:
    try:
        points = _raw_points.decode(body).points
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "body"
    return next((f"points[{index}]" for index, point in enumerate(points) if _reason(point)), "body")
