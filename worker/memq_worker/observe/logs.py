import logging
import os
import re
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Literal

from pythonjsonlogger.orjson import OrjsonFormatter

from memq_worker.observe.background import BackgroundHandler
from memq_worker.observe.repeats import Repeats
from memq_worker.observe.tracebacks import outline

REPEATS_SECONDS = 10.0

# What every LogRecord has: whatever else it has came in by `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

# Where a message of a library quotes what it was given.
_ARGUMENT = re.compile(r"%(\(\w+\))?[-+ #0]*(\d+|\*)?(\.(\d+|\*))?[a-zA-Z]")


class JsonLines(OrjsonFormatter):
    """One JSON object a line: timestamp (RFC 3339, UTC), level, logger, message, worker, version, then the fields."""

    def __init__(self, worker: str | None) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            static_fields={"version": version("memq")} | ({"worker": worker} if worker else {}),
        )

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["timestamp"] = f"{_second(int(record.created))}.{int(record.msecs):03d}Z"
        super().add_fields(log_data, record, message_dict)

    def format(self, record: logging.LogRecord) -> str:
        return super().format(_ours(record))

    def formatException(self, ei: Any) -> list[str]:
        return outline(ei[1])


class TextLines(logging.Formatter):
    """One line a person can read: time, level, message, then the fields, and below it where an error came from."""

    def __init__(self, worker: str | None = None) -> None:
        super().__init__()
        self._worker = f"[{worker}] " if worker else ""

    def format(self, record: logging.LogRecord) -> str:
        record = _ours(record)
        fields = "".join(
            f"  {key}={_visible(value)}"
            for key, value in record.__dict__.items()
            if key not in _STANDARD and value is not None
        )
        clock = f"{_second(int(record.created))[11:]}.{int(record.msecs):03d}"
        line = f"{clock} {record.levelname:<7} {self._worker}{_visible(record.getMessage())}{fields}"
        error = record.exc_info[1] if record.exc_info else None
        return line if error is None else "\n    ".join([line, *outline(error)])


@lru_cache(maxsize=4)
def _second(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _visible(value: object) -> str:
    """Text on one line, without terminal control characters."""
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _ours(record: logging.LogRecord) -> logging.LogRecord:
    """The record, or what may be said of one from a library: those quote in their messages what they were given."""
    if record.name.startswith("memq"):
        return record
    if record.name == "asyncio":
        text = "unhandled error in the event loop"
    else:
        text = _ARGUMENT.sub("…", str(record.msg).partition("\n")[0])
    attributes = {key: getattr(record, key) for key in ("name", "levelno", "levelname", "created", "msecs", "exc_info")}
    return logging.makeLogRecord(attributes | {"msg": text})


def configure(
    level: str,
    form: Literal["auto", "json", "text"],
    worker: str | None = None,
    *,
    pooled: bool = False,
    repeats: int = 20,
    repeats_level: str = "warning",
    descriptor: int = 2,
) -> BackgroundHandler:
    """Logs of the whole process, to standard error. `pooled` lines are one of several processes' on a terminal.

    Of lines with one logger, message and code, `repeats` in REPEATS_SECONDS are written and the rest are counted.
    """
    limit = Repeats(repeats, REPEATS_SECONDS, logging.getLevelNamesMapping()[repeats_level.upper()])
    handler = BackgroundHandler(descriptor, limit)
    as_text = form == "text" or (form == "auto" and os.isatty(descriptor))
    handler.setFormatter(TextLines(worker if pooled else None) if as_text else JsonLines(worker))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # At the levels below they log every frame.
    for chatty in ("aiormq", "aio_pika", "grpc", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    return handler
