from __future__ import annotations

import tracemalloc

import pytest
import zstandard

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError
from memq_worker.pipeline.decode.expand import expanded

MOST = 100_000


def refusal(body: bytes, encoding: str = "zstd") -> MessageError:
    with pytest.raises(MessageError) as caught:
        expanded(body, encoding, MOST)
    return caught.value


@pytest.mark.parametrize("size", [0, 1, MOST])
@pytest.mark.parametrize("sized", [True, False])
def test_what_was_compressed_comes_out(size: int, sized: bool) -> None:
    body = b"v" * size
    packed = zstandard.ZstdCompressor(write_content_size=sized).compress(body)
    assert expanded(packed, "ZSTD", MOST) == body


@pytest.mark.parametrize("encoding", [None, "", "identity", "utf-8"])
def test_no_encoding_is_the_body_itself(encoding: str | None) -> None:
    assert expanded(b"{}", encoding, MOST) == b"{}"


@pytest.mark.parametrize("sized", [True, False])
def test_a_bomb_is_refused_before_its_memory_is_taken(sized: bool) -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=sized).compressobj(size=200_000_000 if sized else -1)
    bomb = b"".join(compressor.compress(bytes(1_000_000)) for _ in range(200)) + compressor.flush()
    tracemalloc.start()
    try:
        assert refusal(bomb).code is ErrorCode.TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 4 * MOST
    finally:
        tracemalloc.stop()


def test_a_frame_that_lies_about_its_size_is_refused() -> None:
    honest = zstandard.ZstdCompressor().compress(b"x" * 1000)
    assert refusal(honest[:-3]).code is ErrorCode.MALFORMED


@pytest.mark.parametrize("body", [b"", b"{}", b"\x28\xb5\x2f\xfd"])
def test_what_is_no_zstd_is_malformed(body: bytes) -> None:
    assert refusal(body).code is ErrorCode.MALFORMED


def test_another_encoding_is_named_as_unsupported() -> None:
    error = refusal(b"{}", "gzip")
    assert error.code is ErrorCode.UNSUPPORTED_CONTENT
    assert "zstd" in error.message
