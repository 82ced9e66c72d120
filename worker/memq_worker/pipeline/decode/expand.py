from memq_schemas import ErrorCode
from memq_worker.errors import MessageError

ENCODINGS = ("identity", "zstd")

# RFC 8878, 3.1.1.1.2: decoders should take windows of at least this.
_WINDOW_BYTES = 8 * 2**20
_MAGIC = b"\x28\xb5\x2f\xfd"
# A block has up to 128 KiB of content. Encoders that flush often make small ones, but not thousands in a row.
_MAX_BLOCKS = 50_000
_REPEATED = 1  # the type of a block that is one byte, written many times


def expanded(body: bytes, encoding: str | None, most_bytes: int) -> bytes:
    """Return the body without its content encoding, at most `most_bytes` of it. Raises MessageError."""
    if encoding is None:
        return body
    name = encoding.strip().lower()
    # RabbitMQ's own clients write the character set here, where a content coding belongs.
    if name in ("identity", "utf-8", ""):
        return body
    if name != "zstd":
        raise MessageError(
            ErrorCode.UNSUPPORTED_CONTENT, f"content_encoding: expected one of {', '.join(ENCODINGS)}", stage="decode"
        )
    return _zstd(body, most_bytes)


def _zstd(body: bytes, most_bytes: int) -> bytes:
    import zstandard

    if not body.startswith(_MAGIC):
        raise _damaged("not zstd, as its content_encoding says")
    try:
        # The size is the sender's word: a decompressor that believes it would allocate it first.
        stated = zstandard.frame_content_size(body)
        if stated > most_bytes:
            raise _too_large(most_bytes)
        header = zstandard.frame_header_size(body)
        end = _frame_end(body, header, zstandard.get_frame_parameters(body).has_checksum)
        if end < len(body):
            raise _damaged(f"{len(body) - end} bytes after the end of the zstd frame")
        decompressor = zstandard.ZstdDecompressor(max_window_size=max(most_bytes, _WINDOW_BYTES))
        with decompressor.stream_reader(body, read_across_frames=False) as reader:
            data = reader.read(most_bytes + 1)
    except zstandard.ZstdError:
        raise _damaged("not zstd, as its content_encoding says") from None
    if len(data) > most_bytes:
        raise _too_large(most_bytes)
    if 0 <= stated != len(data):
        raise _damaged("not zstd, as its content_encoding says")
    return data


def _frame_end(body: bytes, at: int, has_checksum: bool) -> int:
    """Where the frame ends: RFC 8878, 3.1.1.2. A decompressor that reads in a stream does not tell."""
    for _ in range(_MAX_BLOCKS):
        block = int.from_bytes(body[at : at + 3], "little")
        at += 3 + (1 if block >> 1 & 3 == _REPEATED else block >> 3)
        if at > len(body):
            raise _damaged("the zstd frame is truncated")
        if block & 1:
            end = at + 4 * has_checksum
            if end > len(body):
                raise _damaged("the zstd frame is truncated")
            return end
    raise _damaged(f"more than {_MAX_BLOCKS} blocks in the zstd frame")


def _too_large(most_bytes: int) -> MessageError:
    return MessageError(
        ErrorCode.TOO_LARGE, f"body: expands to more than {most_bytes} bytes, which this worker takes", stage="decode"
    )


def _damaged(reason: str) -> MessageError:
    return MessageError(ErrorCode.MALFORMED, f"body: {reason}", stage="decode")
