"""Standard streams of a command. A failed write to standard output is an error; to standard error it is ignored."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_OUTPUT, _ERRORS = 1, 2
_UNDECODED = "memq-undecoded"


class OutputError(Exception):
    """Standard output cannot be written: a full disk, a closed pipe, a closed descriptor.

    closed: the reader of the pipe has exited.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror or error}")
        self.closed = isinstance(error, BrokenPipeError)


class _Output(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OutputError(error) from error


class _Errors(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def install() -> None:
    """Replace sys.stdout and sys.stderr.

    Bytes of file names that are not UTF-8 are written as they are, to both. A descriptor that the caller has closed is
    opened again on /dev/null, so that no socket or file takes its number; writing to such an output is an error.
    """
    codecs.register_error(_UNDECODED, _bytes_of)
    for descriptor, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        _open_if_closed(descriptor, flags)
    output, errors = _Output(_OUTPUT, "wb", closefd=False), _Errors(_ERRORS, "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(output), _encoding(sys.stdout), "surrogateescape", line_buffering=output.isatty()
    )
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(errors), _encoding(sys.stderr), _UNDECODED, write_through=True, line_buffering=True
    )


def discard() -> None:
    """Send the rest of standard output to /dev/null: what is buffered cannot be written."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, _OUTPUT)
    os.close(null)


def _bytes_of(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode what `os.fsdecode` has made of other bytes as these bytes, and anything else as an escape sequence."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    if all("\udc80" <= character <= "\udcff" for character in text):
        return text.encode("ascii", "surrogateescape"), error.end
    return codecs.backslashreplace_errors(error)


def _open_if_closed(descriptor: int, flags: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, flags)  # the lowest free number, which is this one
        os.set_inheritable(opened, True)


def _encoding(stream: TextIO | None) -> str:
    return "utf-8" if stream is None else stream.encoding
