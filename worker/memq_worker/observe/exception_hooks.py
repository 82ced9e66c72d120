import logging
import sys
import threading
import warnings
from types import TracebackType

logger = logging.getLogger(__name__)


def log_uncaught() -> None:
    """Makes lines of the log of what Python would print by itself: its own text is no line, and quotes data."""
    sys.excepthook = _crashed
    sys.unraisablehook = _ignored
    threading.excepthook = _thread_ended
    warnings.showwarning = _warned


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, Exception):
        logger.critical("unexpected error, exiting", exc_info=(kind, error, trace))
    else:
        sys.__excepthook__(kind, error, trace)


def _ignored(unraisable: "sys.UnraisableHookArgs") -> None:
    error = unraisable.exc_value
    exc_info = None if error is None else (unraisable.exc_type, error, unraisable.exc_traceback)
    logger.error("unhandled error in a background task", exc_info=exc_info)


def _thread_ended(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    exc_info = None if error is None else (arguments.exc_type, error, arguments.exc_traceback)
    logger.error("unhandled error in a thread", exc_info=exc_info)


def _warned(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
    logger.warning("Python warning", extra={"warning": category.__name__, "place": f"{filename}:{lineno}"})
