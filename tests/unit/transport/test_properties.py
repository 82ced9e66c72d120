from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memq_amqp import Envelope, Properties, decode, encode
from pamqp.commands import Basic
from pamqp.header import ContentHeader

short = st.none() | st.text(max_size=60)
octet = st.none() | st.integers(0, 255)
stamp = st.none() | st.integers(0, 4_000_000_000)
# A table holds what JSON holds, and more; integers of up to 64 bits.
value = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)
table = st.dictionaries(st.text(min_size=1, max_size=10), value | st.lists(value, max_size=3), max_size=4)


@st.composite
def properties(draw: st.DrawFn) -> Properties:
    return Properties(
        draw(short),
        draw(short),
        draw(table),
        draw(octet),
        draw(octet),
        draw(short),
        draw(short),
        draw(short),
        draw(short),
        draw(stamp),
        draw(short),
        draw(short),
        draw(short),
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


@given(properties(), st.text(max_size=60), st.integers(0, 4_000_000_000))
def test_an_envelope_is_the_same_properties_with_an_id_and_a_time(given: Properties, id_: str, time: int) -> None:
    assert Envelope(given).encoded(id_, time) == encode(given._replace(message_id=id_, timestamp=time))


def test_a_correlation_id_that_is_no_utf8_comes_back_as_it_was() -> None:
    sent = b"\x04\x00\x03\xff\xfe!"
    assert encode(decode(sent)) == sent


def test_a_timestamp_beyond_every_calendar_is_only_a_number() -> None:
    assert decode(b"\x00\x40" + b"\xff" * 8).timestamp == 2**64 - 1


@given(st.binary(max_size=60))
def test_a_table_that_cannot_be_read_is_none_and_what_follows_it_is_read(junk: bytes) -> None:
    data = b"\x24\x00" + len(junk).to_bytes(4, "big") + junk + b"\x02id"
    read = decode(data)
    assert read.correlation_id == "id"
    assert read.headers is None or isinstance(read.headers, dict)


@pytest.mark.parametrize("bad", [Properties(reply_to="x" * 256), Properties(headers={"k": object()})])
def test_what_amqp_cannot_hold_is_refused(bad: Properties) -> None:
    with pytest.raises(ValueError, match=r"255|headers"):
        encode(bad)
