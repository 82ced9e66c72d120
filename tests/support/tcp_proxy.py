"""A TCP proxy between two parties that fails as told: refuses, cuts, resets, falls silent, stalls, delays, throttles.

It runs in a thread with a loop of its own, so that tests may block, and so that it does not share a test's stalls.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

T = TypeVar("T")

_CALL_SECONDS = 30.0
_CHUNK = 2**16
_GREETING = 4096


class Way(Enum):
    UP = "up"  # from the client to the server
    DOWN = "down"  # from the server to the client


@dataclass(eq=False)
class _Line:
    """One client's connection and the one made for it to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    lossy: bool = False
    said: bytes = b""  # by the client, at first: who it is

    def close(self, *, reset: bool) -> None:
        for writer in (self.client, self.server):
            raw = writer.get_extra_info("socket")
            # Closed already, where its end was killed and that was noticed first.
            if reset and raw is not None and raw.fileno() >= 0:
                # With no time to linger, closing sends RST instead of FIN.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class TcpProxy:
    """Every method can be called from any thread, and has taken effect when it returns."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = 0
        self.accepted = 0
        self.carried = {Way.UP: 0, Way.DOWN: 0}
        self._delay = 0.0
        self._rate: int | None = None
        self._slice: int | None = None
        self._silent = self._refusing = False
        self._silent_for = b""
        self._cut_when: dict[Way, Callable[[bytes], bool]] = {}
        self._watch: Callable[[Way, bytes], None] = lambda _way, _chunk: None
        self._pause_at: dict[Way, int] = {}
        self._lines: set[_Line] = set()
        self._loop = asyncio.new_event_loop()
        self._open: dict[Way, asyncio.Event] = {}
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def url(self, through: str) -> str:
        """The same URL, but by way of this proxy."""
        parts = urlsplit(through)
        user, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}").geturl()

    @property
    def connections(self) -> int:
        return self._do(lambda: len(self._lines))

    def cut(self) -> int:
        """Closes every connection in order (FIN). Returns how many there were; new ones are accepted."""
        return self._do(lambda: self._close(reset=False))

    def reset(self) -> int:
        """The same with RST, and what was on its way is lost."""
        return self._do(lambda: self._close(reset=True))

    def cut_when(self, way: Way, matches: Callable[[bytes], bool]) -> None:
        """Resets the connection on which the next chunk matches, before that chunk is handed on. Once."""
        self._do(lambda: self._cut_when.__setitem__(way, matches))

    def watch(self, seen: Callable[[Way, bytes], None]) -> None:
        """Call `seen` with each chunk from now on, in the thread of the proxy. It must not raise."""
        self._do(lambda: setattr(self, "_watch", seen))

    def refuse(self, refusing: bool = True) -> None:
        """New connections are reset as soon as they are made."""
        self._do(lambda: setattr(self, "_refusing", refusing))

    def silence(self, only: bytes = b"") -> None:
        """Half-open: what is sent is taken and comes to nothing, new connections included, until `heal`.

        only: for clients with these bytes in the first 4 KiB that they have sent, such as a connection's name.
        """
        self._do(lambda: (setattr(self, "_silent_for", only), setattr(self, "_silent", True)))

    def pause(self, *ways: Way) -> None:
        """Nothing is handed on these ways (both unless given) and nothing lost; senders meet back-pressure."""
        self._do(lambda: [self._open[way].clear() for way in ways or tuple(Way)])

    def pause_after(self, way: Way, size: int) -> None:
        """Pauses this way when so many more bytes have been handed on; the last piece may exceed it."""
        self._do(lambda: self._pause_at.__setitem__(way, self.carried[way] + size))

    def resume(self) -> None:
        self._do(lambda: [event.set() for event in self._open.values()])

    def delay(self, seconds: float) -> None:
        """Each chunk waits so long on its way, in both directions."""
        self._do(lambda: setattr(self, "_delay", seconds))

    def throttle(self, bytes_per_second: int | None, slice_bytes: int | None = None) -> None:
        """At most so fast in each direction, and in pieces no larger than `slice_bytes`; None lifts it."""
        self._do(lambda: (setattr(self, "_rate", bytes_per_second), setattr(self, "_slice", slice_bytes)))

    def heal(self) -> None:
        """Ends every fault. Connections that have lost something on the way are reset: their streams are broken."""
        self._do(self._heal)

    def start(self) -> None:
        self._thread.start()
        self._run(self._listen())

    def close(self) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_SECONDS)
        self._loop.close()

    def _do(self, act: Callable[[], T]) -> T:
        async def call() -> T:
            return act()

        return self._run(call())

    def _run(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_SECONDS)

    async def _listen(self) -> None:
        self._open = {way: asyncio.Event() for way in Way}
        for event in self._open.values():
            event.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._close(reset=False)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _close(self, *, reset: bool) -> int:
        lines, self._lines = self._lines, set()
        for line in lines:
            line.close(reset=reset)
        return len(lines)

    def _heal(self) -> None:
        self._delay, self._rate, self._slice = 0.0, None, None
        self._silent = self._refusing = False
        self._cut_when.clear()
        self._pause_at.clear()
        for line in [line for line in self._lines if line.lossy]:
            line.close(reset=True)
        for event in self._open.values():
            event.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        with contextlib.suppress(OSError):
            if self._refusing:
                _Line(writer, writer).close(reset=True)
                return
            # Known before it is connected to the server: a cut in between ends it too.
            line = _Line(writer, writer)
            self._lines.add(line)
            try:
                to_reader, to_writer = await asyncio.open_connection(*self.target)
            except OSError:
                self._lines.discard(line)
                raise
            if line not in self._lines:
                to_writer.transport.abort()
                return
            line.server = to_writer
            pumps = [
                asyncio.create_task(self._pump(line, Way.UP, reader, to_writer)),
                asyncio.create_task(self._pump(line, Way.DOWN, to_reader, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                self._lines.discard(line)
                # In order, so that what was handed over still arrives; a line that was reset is gone already.
                for end in (writer, to_writer):
                    end.close()
            return
        writer.transport.abort()

    async def _pump(self, line: _Line, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            self._watch(way, chunk)
            await self._open[way].wait()
            if (matches := self._cut_when.get(way)) is not None and matches(chunk):
                del self._cut_when[way]
                line.close(reset=True)
                return
            if self._delay:
                await asyncio.sleep(self._delay)
            if way is Way.UP and len(line.said) < _GREETING:
                line.said += chunk[:_GREETING]
            if self._silent and self._silent_for in line.said:
                line.lossy = True
            else:
                await self._hand_on(way, chunk, writer)

    async def _hand_on(self, way: Way, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        size = self._slice or (max(1, self._rate // 20) if self._rate else len(chunk))
        for start in range(0, len(chunk), size):
            piece = chunk[start : start + size]
            await self._open[way].wait()
            # Before the write: as soon as the far side can read the bytes, a test may look at the count and resume.
            self.carried[way] += len(piece)
            if self.carried[way] >= self._pause_at.get(way, self.carried[way] + 1):
                del self._pause_at[way]
                self._open[way].clear()
            writer.write(piece)
            await writer.drain()
            if self._rate:
                await asyncio.sleep(len(piece) / self._rate)
            elif self._slice:
                await asyncio.sleep(0)


@contextmanager
def tcp_proxy(target: str) -> Iterator[TcpProxy]:
    """In front of the host and port of the URL `target`, on a free loopback port."""
    parts = urlsplit(target)
    proxy = TcpProxy(parts.hostname or "127.0.0.1", parts.port or 5672)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.close()
