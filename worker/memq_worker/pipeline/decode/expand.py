from memq_schemas import ErrorCode
from memq_worker.errors import MessageError

ENCODINGS = ("identity", "zstd")

# RFC 8878, 3.1.1.1.2: decoders should take windows of at least this.
_WINDOW_BYTES = 8 * 2**20


def expanded(body: bytes, encoding: str | None, most_bytes: int) -> bytes:
    """The body without its content encoding, of at most `most_bytes`. Raises MessageError."""
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

    try:
        # The size is the sender's word: a decompressor that believes it would allocate it first.
        stated = zstandard.frame_content_size(body)
        if stated <= most_bytes:
            decompressor = zstandard.ZstdDecompressor(max_window_size=max(most_bytes, _WINDOW_BYTES))
            with decompressor.stream_reader(body, read_across_frames=False) as reader:
                data = reader.read(most_bytes + 1)
            if len(data) <= most_bytes:
                # Reading in a stream, the end of the input is not told from the end of the frame.
                ended = decompressor.decompressobj()
                whole = len(data) == stated if stated >= 0 else ended.decompress(body) == data and ended.eof
                if not whole:
                    raise _damaged()
                return data
    except zstandard.ZstdError:
        raise _damaged() from None
    raise MessageError(
        ErrorCode.TOO_LARGE, f"body: expands to more than {most_bytes} bytes, which this worker takes", stage="decode"
    )


def _damaged() -> MessageError:
    return MessageError(ErrorCode.MALFORMED, "body: not zstd, as its content_encoding says", stage="decode")
