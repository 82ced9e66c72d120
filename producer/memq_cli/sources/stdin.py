from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
from typing import TYPE_CHECKING

from memq_cli.sources.jsonl import JsonLines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from memq.encode.column_names import ColumnNames, Row

PIECE_BYTES = 256 * 1024


class StandardInput:
    """JSON Lines as they come; waiting for them holds up neither confirms nor an interrupt."""

    name = "standard input"
    total = None

    def __init__(self, columns: ColumnNames) -> None:
        self._lines = JsonLines(self.name, io.BytesIO, None, columns)

    def place(self, index: int) -> str:
        return self._lines.place(index)

    def points(self, start: int = 0) -> AsyncIterator[Row]:
        """Read standard input once, from the first line. Raises BadFile."""
        assert not start
        return self._lines.points_of(_lines(sys.stdin.fileno()))


async def _lines(descriptor: int) -> AsyncIterator[bytes]:
    partial = b""
    async for piece in _pieces(descriptor):
        *whole, partial = (partial + piece).split(b"\n")
        for line in whole:
            yield line
    if partial:
        yield partial


async def _pieces(descriptor: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue(4)

    def read() -> None:
        # Not in the executor, which is waited for at exit; not from sys.stdin, whose lock a sleeping reader would hold.
        try:
            while piece := os.read(descriptor, PIECE_BYTES):
                asyncio.run_coroutine_threadsafe(pieces.put(piece), loop).result()
        except OSError:
            pass
        asyncio.run_coroutine_threadsafe(pieces.put(b""), loop)

    threading.Thread(target=read, name="memq-stdin", daemon=True).start()
    while piece := await pieces.get():
        yield piece
