import logging
import threading
from dataclasses import dataclass

# Messages of ours are constants, so there are few kinds. What a library logs may be endless.
_MOST_KINDS = 1000

Kind = tuple[str, str, str]


@dataclass(slots=True)
class Window:
    """The lines of one kind since `began`, and how many of them were left out."""

    began: float
    level: int
    seen: int = 0
    suppressed: int = 0


class Repeats:
    """Lets `most` lines of one logger, message and code through in `seconds`; the rest are counted and told in one.

    Only lines of `level` or worse; `most` 0 lets everything through. Times are of time.monotonic().
    """

    def __init__(self, most: int, seconds: float, level: int) -> None:
        self._most = most
        self._seconds = seconds
        self._level = level
        self._windows: dict[Kind, Window] = {}
        # Lines may come from any thread, summaries are asked for by the one that writes.
        self._lock = threading.Lock()

    def passes(self, record: logging.LogRecord, now: float) -> bool:
        if record.levelno < self._level or not self._most:
            return True
        kind = (record.name, str(record.msg), str(getattr(record, "code", "")))
        with self._lock:
            if kind not in self._windows and len(self._windows) >= _MOST_KINDS:
                kind = (record.name, "", "")
            window = self._windows.setdefault(kind, Window(now, record.levelno))
            window.seen += 1
            if window.seen <= self._most:
                return True
            window.suppressed += 1
            window.level = max(window.level, record.levelno)
            return False

    def due(self, now: float) -> float | None:
        """Seconds until `summaries` has something to do; None while there is nothing to wait for."""
        with self._lock:
            if not self._windows:
                return None
            return max(0.0, min(window.began for window in self._windows.values()) + self._seconds - now)

    def summaries(self, now: float, *, all_of_them: bool = False) -> list[logging.LogRecord]:
        """One line for each kind that was cut short in a window that is over, or in `all_of_them`."""
        with self._lock:
            over = {k: w for k, w in self._windows.items() if all_of_them or now - w.began >= self._seconds}
            for kind in over:
                del self._windows[kind]
        return [_summary(kind, window, now) for kind, window in over.items() if window.suppressed]


def _summary(kind: Kind, window: Window, now: float) -> logging.LogRecord:
    name, message, code = kind
    fields = {
        "name": name,
        "levelno": window.level,
        "levelname": logging.getLevelName(window.level),
        "msg": "repeated lines left out",
        "repeated": message,
        "suppressed": window.suppressed,
        "window_seconds": round(now - window.began, 3),
    }
    return logging.makeLogRecord(fields | ({"code": code} if code else {}))
