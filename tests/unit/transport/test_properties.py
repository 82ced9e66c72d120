from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memq_amqp import Envelope, decode, encode
from memq_amqp.wire.properties import Table
from memq_amqp.wire.readable_frames import RAW, ReadableFrames
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from memq_schemas import headers
from memq_schemas.properties import NO_HEADERS, ChangedHeaders, Properties, legible

short = st.none() | st.text(max_size=60)
octet = st.none() | st.integers(0, 255)
stamp = st.none() | st.integers(0, 4_000_000_000)
# A table holds what JSON holds, and more; integers of up to 64 bits.
value = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)
table = st.dictionaries(st.text(min_size=1, max_size=10), value | st.lists(value, max_size=3), max_size=4)


@st.composite
def properties(draw: st.DrawFn) -> Properties:
    texts = (draw(short) for _ in range(9))
    return Properties(
        next(texts),
        next(texts),
        draw(table) or NO_HEADERS,
        draw(octet),
        draw(octet),
        next(texts),
        next(texts),
        next(texts),
        next(texts),
        draw(stamp),
        next(texts),
        next(texts),
        next(texts),
    )


@given(properties())
def test_what_is_written_is_read(given: Properties) -> None:
    assert decode(encode(given)) == given


@given(properties())
def test_pamqp_reads_the_same(given: Properties) -> None:
    payload = b"\x00\x3c\x00\x00" + bytes(8) + encode(given)
    header = ContentHeader()
    header.unmarshal(payload)
    read = header.properties
    assert isinstance(read, Basic.Properties)
    assert (read.headers or {}) == given.headers
    for name in ("content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "app_id", "user_id"):
        assert (getattr(read, name) or None) == (getattr(given, name) or None)
    assert (read.delivery_mode, read.priority) == (given.delivery_mode, given.priority)
    assert read.timestamp == (None if given.timestamp is None else datetime.fromtimestamp(given.timestamp, UTC))


@given(properties(), st.text(max_size=60), st.integers(10**12, 4 * 10**12))
def test_an_envelope_is_the_same_properties_with_an_id_and_a_time(given: Properties, id_: str, sent_ms: int) -> None:
    encoded = Envelope(given).encoded(id_, sent_ms)
    whole = given._replace(message_id=id_, timestamp=sent_ms // 1000, headers={headers.SENT: sent_ms})
    assert encoded == encode(whole)
    assert decode(encoded).published == sent_ms / 1000
    assert decode(encoded).headers.get(headers.RETRY_COUNT) is None
    assert dict(decode(encoded).headers) == {headers.SENT: sent_ms}


@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(max_size=9), st.none()), st.integers(0, 2**64 - 1))
def test_a_time_in_milliseconds_counts_within_the_second_of_the_timestamp(sent: object, timestamp: int) -> None:
    read = decode(encode(Properties(headers={headers.SENT: sent}, timestamp=timestamp))).published
    plausible = isinstance(sent, int) and sent // 1000 == timestamp
    assert read == (sent / 1000 if plausible and isinstance(sent, int) else timestamp if timestamp < 2**37 else read)
    assert read is None or 0 <= read < 2**38


def test_an_envelope_by_default_is_a_key_of_a_cache() -> None:
    assert hash(Properties()) == hash(Properties())


# ---- bytes from strangers: any property list that AMQP can carry


def _short_string(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _entry(name: bytes, kind: bytes, data: bytes) -> bytes:
    return _short_string(name) + kind + data


sized = st.sampled_from([b"S", b"x", b"F", b"A"])
fixed = st.sampled_from([(b"t", 1), (b"b", 1), (b"B", 1), (b"s", 2), (b"u", 2), (b"I", 4), (b"i", 4), (b"l", 8)])
more_fixed = st.sampled_from([(b"f", 4), (b"d", 8), (b"D", 5), (b"T", 8), (b"V", 0), (b"L", 8), (b"U", 2)])


@st.composite
def entry(draw: st.DrawFn) -> bytes:
    """An entry whose end can be told, of any content, of which nested tables may be broken."""
    name = draw(st.binary(max_size=12))
    if draw(st.booleans()):
        data = draw(st.binary(max_size=30))
        return _entry(name, draw(sized), struct.pack(">I", len(data)) + data)
    kind, size = draw(fixed | more_fixed)
    return _entry(name, kind, draw(st.binary(min_size=size, max_size=size)))


@st.composite
def raw_table(draw: st.DrawFn) -> bytes:
    """Entries, and behind them perhaps one of a type that nobody knows."""
    entries = b"".join(draw(st.lists(entry(), max_size=5)))
    tail = draw(st.just(b"") | st.binary(min_size=1, max_size=20).map(lambda data: _entry(b"odd", b"?", data)))
    return entries + tail


@st.composite
def raw_properties(draw: st.DrawFn) -> bytes:
    """A property list as bytes, its texts, timestamp and headers chosen by an enemy."""
    flags, parts = 0, b""
    for index in range(14):
        if not draw(st.booleans()):
            continue
        flags |= 0x8000 >> index
        if index == 2:
            data = draw(raw_table())
            parts += struct.pack(">I", len(data)) + data
        elif index in (3, 4):
            parts += draw(st.binary(min_size=1, max_size=1))
        elif index == 9:
            parts += draw(st.binary(min_size=8, max_size=8))
        else:
            parts += _short_string(draw(st.binary(max_size=255)))
    return struct.pack(">H", flags) + parts


def _without_empty_headers(data: bytes) -> bytes:
    """An empty table is read as none."""
    read = decode(data)
    return data if read.headers or not struct.unpack_from(">H", data)[0] & 0x2000 else b""


@given(raw_properties())
def test_any_property_list_is_read_and_written_byte_for_byte(sent: bytes) -> None:
    read = decode(sent)
    dict(read.headers)
    for text in (each for each in read if isinstance(each, str)):
        legible(text).encode()
    assert encode(read) == sent or not _without_empty_headers(sent)
    assert read.published is None or datetime.fromtimestamp(read.published, UTC)


@given(raw_table())
def test_a_copy_keeps_every_header_as_received_and_can_read_its_own(raw: bytes) -> None:
    received = Table(raw)
    names = list(received)
    copy = ChangedHeaders(received, names=names[:1], prefixes=("x-death",), added={"x-retry-count": 3})
    written = decode(encode(Properties(headers=copy))).headers
    assert written["x-retry-count"] == 3
    assert isinstance(written, Table)
    kept = [raw[start:stop] for name, start, _, stop in received.entries() if copy.keeps(name)]
    assert written.raw.endswith(b"".join(kept) + received.opaque)
    assert set(written) == {"x-retry-count", *(name for name in names if copy.keeps(name))}


@given(raw_properties(), st.binary(max_size=255), st.binary(max_size=255))
def test_pamqp_is_handed_frames_that_it_can_read(raw: bytes, exchange: bytes, key: bytes) -> None:
    """Of what it reads for aiormq nothing of the sender's is lost."""
    readable = ReadableFrames()
    deliver = b"\x00\x3c\x00\x3c" + _short_string(b"tag") + bytes(8) + b"\x00" + _short_string(exchange)
    method = _frame(1, deliver + _short_string(key))
    header = _frame(2, b"\x00\x3c\x00\x00" + bytes(8) + raw)
    got = pamqp.frame.unmarshal(readable.frame(1, 5, method))[2]
    assert isinstance(got, Basic.Deliver)
    read = pamqp.frame.unmarshal(readable.frame(2, 5, header))[2]
    assert isinstance(read, ContentHeader)
    headers: dict[str, Any] = read.properties.headers or {}
    assert bytes(headers[RAW]) == raw
    found = bytes(headers["x-memq-key"]) if "x-memq-key" in headers else (got.routing_key or "").encode()
    assert found == key


def _frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, 5, len(payload)) + payload + b"\xce"


@given(st.binary(max_size=200))
def test_a_property_list_that_is_none_is_read_as_far_as_it_goes(junk: bytes) -> None:
    dict(decode(junk).headers)


def test_a_timestamp_beyond_every_calendar_is_only_a_number() -> None:
    read = decode(b"\x00\x40" + b"\xff" * 8)
    assert (read.timestamp, read.published) == (2**64 - 1, None)
    assert Properties(timestamp=1_700_000_000_000_000).published is None
    assert Properties(timestamp=1_700_000_000).published == 1_700_000_000


def test_tables_in_tables_without_end_stay_bytes() -> None:
    raw = b""
    for _ in range(20_000):
        raw = b"\x01k" + b"F" + struct.pack(">I", len(raw)) + raw
        if len(raw) > 100_000:
            break
    found: Any = Table(raw)
    depth = 0
    while isinstance(found, (dict, Table)):
        found = found["k"]
        depth += 1
    assert isinstance(found, bytes)
    assert depth == 64


@pytest.mark.parametrize("bad", [Properties(reply_to="x" * 256), Properties(headers={"k": object()})])
def test_what_amqp_cannot_hold_is_refused(bad: Properties) -> None:
    with pytest.raises(ValueError, match=r"255|headers"):
        encode(bad)
