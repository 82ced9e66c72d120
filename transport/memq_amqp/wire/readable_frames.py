"""Frames that pamqp can read, whatever their sender has chosen.

pamqp, which reads for aiormq, ends the connection over text that is not UTF-8, a date that no calendar has, or a type
that it does not know. On connections of ours it is handed the property list of a message as the one header `RAW`, and
a routing key that it cannot read as the header `KEY`. `read` puts both back together, so that there is one decoder
for what memq reads itself and for what aiormq reads.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, cast

from pamqp.commands import Basic

from memq_amqp.wire.properties import decode, encode
from memq_schemas.properties import Properties

if TYPE_CHECKING:
    from aiormq.abc import DeliveredMessage

METHOD, HEADER = 1, 2
RAW, KEY = "x-memq-raw", "x-memq-key"

_ENVELOPE = struct.Struct(">BHI")
_U32 = struct.Struct(">I").unpack_from
_END = b"\xce"
_EMPTY = b"\x00"  # a short string
_BASIC = 60 << 16
# The methods that name exchange and routing key.
_DELIVER, _GET_OK, _RETURN = _BASIC | 60, _BASIC | 71, _BASIC | 50
_SHORTEST = 20  # bytes of the shortest frame with an exchange and a routing key
_BEFORE_CONTENT = 12  # bytes of a content header before its property list


class ReadableFrames:
    """The frames of one connection, in their order."""

    def __init__(self) -> None:
        self._keys: dict[int, bytes] = {}  # by channel: routing keys that pamqp cannot read, of messages to come

    def frame(self, kind: int, channel: int, frame: bytes) -> bytes:
        """`frame`, or one instead of it."""
        if kind == HEADER:
            return self._header(channel, frame)
        if kind == METHOD and len(frame) > _SHORTEST:
            return self._method(channel, frame)
        return frame

    def _header(self, channel: int, frame: bytes) -> bytes:
        before, raw = frame[7 : 7 + _BEFORE_CONTENT], frame[7 + _BEFORE_CONTENT : -1]
        headers = {RAW: raw}
        if (key := self._keys.pop(channel, None)) is not None:
            headers[KEY] = key
        # aiormq tells by the message id which publish a returned message was.
        message_id = decode(raw).message_id
        if message_id is not None and not message_id.isascii():
            message_id = None
        return _framed(HEADER, channel, before + encode(Properties(headers=headers, message_id=message_id)))

    def _method(self, channel: int, frame: bytes) -> bytes:
        at = _place(frame)
        if at < 0:
            return frame
        at_key = at + 1 + frame[at]
        stop = at_key + 1 + frame[at_key]
        readable = _readable(frame[at + 1 : at_key])
        if readable and _readable(frame[at_key + 1 : stop]):
            return frame
        self._keys[channel] = frame[at_key + 1 : stop]
        # The exchange says whose message it is, so it stays unless it cannot be read either.
        exchange = frame[at:at_key] if readable else _EMPTY
        return _framed(METHOD, channel, frame[7:at] + exchange + _EMPTY + frame[stop:-1])


def _readable(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _place(frame: bytes) -> int:
    """Where exchange and routing key are, as short strings; -1 for a method that has none."""
    (method,) = _U32(frame, 7)
    if method == _DELIVER:
        return 11 + 1 + frame[11] + 9  # behind consumer tag, delivery tag and redelivered
    if method == _GET_OK:
        return 11 + 9
    if method == _RETURN:
        return 11 + 2 + 1 + frame[13]  # behind reply code and reply text
    return -1


def _framed(kind: int, channel: int, payload: bytes) -> bytes:
    return _ENVELOPE.pack(kind, channel, len(payload)) + payload + _END


def read(message: DeliveredMessage) -> tuple[str, Properties]:
    """Routing key and properties of a message that aiormq has read on a connection of ours."""
    headers = cast("dict[str, Any]", message.header.properties.headers or {})
    properties = decode(bytes(headers[RAW]))
    if KEY in headers:
        return bytes(headers[KEY]).decode("utf-8", "surrogateescape"), properties
    return _key(message.delivery), properties


def _key(delivery: object) -> str:
    return delivery.routing_key or "" if isinstance(delivery, (Basic.Deliver, Basic.GetOk, Basic.Return)) else ""
