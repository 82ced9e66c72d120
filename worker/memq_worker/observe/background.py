import logging
import os
import select
import threading
import time
from collections import deque

from memq_worker.observe.repeats import Repeats

_MOST_WAITING = 10_000  # lines
_GATHER_SECONDS = 0.02
_FLUSH_SECONDS = 2.0
# A pipe takes up to this much in one piece, so lines of several processes on one pipe stay whole.
_PIECE = 4096


# Not the QueueHandler of the standard library: a line takes a fifth more CPU (python -m tests.benchmarks.logs), its
# thread is woken for each line, and its queue either grows without end or reports every line that it drops.
class BackgroundHandler(logging.Handler):
    """Format lines where they are logged, and leave writing them to a thread, so that a caller never waits.

    While nobody reads the file descriptor, `_MOST_WAITING` lines are kept; later ones are dropped, counted, and the
    count is a line of its own once there is a reader again. A line is written at once when none came in the last
    20 ms, and with the others of those 20 ms otherwise: one system call for many, and few changes of thread.
    """

    def __init__(self, descriptor: int, repeats: Repeats) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._repeats = repeats
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._counting = threading.Lock()
        self._asleep = False
        self._writing = False
        self._closing = False
        self._given_up = False
        self._wake = threading.Event()
        self.addFilter(lambda record: repeats.passes(record, time.monotonic()))
        self._thread = threading.Thread(target=self._run, name="memq-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  (logging's own report of it would print the record's fields)
            line = f'{{"level":"ERROR","logger":"{record.name}","message":"a log line could not be made"}}'
        self._put(line)

    def _put(self, line: str) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            with self._counting:
                self._dropped += 1
            return
        self._waiting.append(line)
        if self._asleep:
            self._wake.set()

    def _run(self) -> None:
        while not self._closing:
            # In this order: a line put after the look at `_waiting` finds us asleep, and wakes us.
            self._asleep = True
            if not self._waiting:
                self._wake.wait(self._repeats.due(time.monotonic()))
            self._asleep = False
            self._wake.clear()
            self._write_all()
            time.sleep(_GATHER_SECONDS)

    def _write_all(self) -> None:
        self._writing = True
        try:
            for record in self._repeats.summaries(time.monotonic()):
                self.emit(record)
            while piece := _piece(self._waiting):
                self._write(piece)
            self._own_up()
        finally:
            self._writing = False

    def _own_up(self) -> None:
        with self._counting:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            fields = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING"}
            self.emit(logging.makeLogRecord(fields | {"msg": "log lines dropped", "dropped": dropped}))

    def _write(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError:
                return  # nobody will ever read it

    def flush(self) -> None:
        """Waits until everything is written, but not for ever: the reader may have stopped."""
        until = time.monotonic() + (0.0 if self._given_up else _FLUSH_SECONDS)
        while (self._waiting or self._writing) and self._thread.is_alive():
            if time.monotonic() >= until:
                self._given_up = True
                return
            time.sleep(_GATHER_SECONDS / 4)
        self._given_up = False

    def close(self) -> None:
        if not self._closing:
            for record in self._repeats.summaries(time.monotonic(), all_of_them=True):
                self.emit(record)
            self.flush()
            self._closing = True
            self._wake.set()
        super().close()


def _piece(lines: "deque[str]") -> bytes:
    """Takes whole lines, together up to `_PIECE` bytes; a longer one alone. Empty when there are none."""
    piece = b""
    while lines:
        line = lines[0].encode("utf-8", "backslashreplace") + b"\n"
        if piece and len(piece) + len(line) > _PIECE:
            break
        lines.popleft()
        piece += line
    return piece
