from __future__ import annotations

import gzip
import io
import os
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from memq.encode.arrow.library import pyarrow
from memq.errors import InvalidRequest
from memq_cli.sources.bad_file import BadFile

if TYPE_CHECKING:
    from pathlib import Path

GZIP, ZSTANDARD = ".gz", ".zst"
COMPRESSED = (GZIP, ZSTANDARD)

# Errors of reading a file that is damaged, on any layer below its text.
UNREADABLE = (EOFError, OSError, zlib.error)

# A line with a vector has several kilobytes: of Python's default buffer there would be a read for each.
BUFFER = 256 * 1024


def open_file(path: Path) -> BinaryIO:
    """The bytes of a file, without the compression that its name ends in. Raises BadFile and OSError."""
    ending = path.suffix.lower()
    if ending == GZIP:
        return cast("BinaryIO", gzip.open(path, "rb"))
    if ending == ZSTANDARD:
        try:
            stream: Any = pyarrow().CompressedInputStream(pyarrow().OSFile(os.fsencode(path)), "zstd")
        except InvalidRequest:
            raise BadFile(f'{path}: reading .zst needs pyarrow: pip install "memq[arrow]"') from None
        return cast("BinaryIO", io.BufferedReader(stream, BUFFER))
    return path.open("rb", BUFFER)
