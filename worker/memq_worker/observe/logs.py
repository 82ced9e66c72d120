import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from pythonjsonlogger.json import JsonFormatter

# What every LogRecord has: whatever else it has came in by `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class TextFormatter(logging.Formatter):
    """One line a person can read: time, level, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(
            f"{key}={value}" for key, value in record.__dict__.items() if key not in _STANDARD and value is not None
        )
        clock = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        line = f"{clock} {record.levelname:<7} {record.getMessage()}" + (f"  {fields}" if fields else "")
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class JsonLines(JsonFormatter):
    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        log_data["timestamp"] = (
            datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )


def configure(level: str, form: Literal["auto", "json", "text"], worker: str | None = None) -> None:
    """Logs of the whole process, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "text" or (form == "auto" and sys.stderr.isatty()):
        handler.setFormatter(TextFormatter())
    else:
        static = {"worker": worker} if worker else {}
        handler.setFormatter(
            JsonLines(
                ["levelname", "name", "message"],
                rename_fields={"levelname": "level", "name": "logger"},
                static_fields=static,
                exc_info_as_array=True,
            )
        )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # They log what they received, which is our senders' data.
    for chatty in ("aiormq", "aio_pika", "grpc"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
