"""The log itself: what a line looks like, what never gets into one, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError
from memq_worker.observe import logs
from memq_worker.observe.background import BackgroundHandler
from memq_worker.observe.repeats import Repeats
from memq_worker.observe.tracebacks import outline

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = "canary-52c0"
# Python 3.13 shows lines of a program given with -c, so that the program must not contain the word itself.
SPELT = "'-'.join(('canary', '52c0'))"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = list(root.handlers), root.level
    chatty = {name: logging.getLogger(name).level for name in ("aiormq", "aio_pika", "grpc", "asyncio")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook = hook
    for name, before in chatty.items():
        logging.getLogger(name).setLevel(before)


class Pipe:
    """Standard error as something else reads it, or does not."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def lines(self, handler: BackgroundHandler) -> list[str]:
        """Everything logged so far; closes the log."""
        read: list[bytes] = []
        reading = threading.Thread(target=lambda: read.extend(iter(lambda: os.read(self.reader, 65536), b"")))
        reading.start()
        handler.close()
        os.close(self.writer)
        reading.join(20)
        os.close(self.reader)
        return b"".join(read).decode().splitlines()


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


def test_a_json_line_has_the_fields_by_one_name(pipe: Pipe) -> None:
    handler = logs.configure("info", "json", "w-1", descriptor=pipe.writer)
    logging.getLogger("memq_worker.any").info("batch written", extra={"op": "upsert", "vector_count": 3})
    logging.getLogger("memq_worker.any").debug("not at this level")
    (line,) = map(json.loads, pipe.lines(handler))
    assert line.pop("timestamp").endswith("Z")
    assert line.pop("version")
    assert line == {
        "level": "INFO",
        "logger": "memq_worker.any",
        "message": "batch written",
        "worker": "w-1",
        "op": "upsert",
        "vector_count": 3,
    }


def test_a_text_line_is_one_line_without_control_characters(pipe: Pipe) -> None:
    handler = logs.configure("info", "text", "w-1", pooled=True, descriptor=pipe.writer)
    logging.getLogger("memq_worker.any").info("said", extra={"reason": "a\nb\x1b[31m\u202e", "nothing": None})
    (line,) = pipe.lines(handler)
    assert line.endswith("INFO    [w-1] said  reason=a\\nb\\x1b[31m\\u202e")


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_says_where_and_what_kind_and_quotes_nothing(pipe: Pipe, form: Any) -> None:
    handler = logs.configure("info", form, "w-1", descriptor=pipe.writer)
    try:
        try:
            int(CANARY)
        except ValueError as error:
            error.add_note(CANARY)
            raise MessageError(ErrorCode.INVALID, "vector: not a number", answer=CANARY) from error
    except MessageError:
        logging.getLogger("memq_worker.any").exception("unexpected error in a write")
    text = "\n".join(pipe.lines(handler))
    assert CANARY not in text
    for told in ("int(CANARY)", "test_logs.py", "ValueError", "MessageError: vector: not a number"):
        assert told in text


def test_groups_and_circles_of_errors_are_outlined() -> None:
    first, second = ValueError(CANARY), KeyError(CANARY)
    first.__cause__, second.__cause__ = second, first
    told = outline(ExceptionGroup(CANARY, [first, OSError(2, CANARY)]))
    assert told == ["ExceptionGroup", "  with ValueError", "  with FileNotFoundError: errno 2"]
    assert outline(first) == ["KeyError", "ValueError"]


def test_what_a_library_logs_is_cut_to_its_template(pipe: Pipe) -> None:
    handler = logs.configure("debug", "json", "w-1", descriptor=pipe.writer)
    logging.getLogger("aiormq.channel").error("Unhandled message %r\n%s", CANARY, CANARY, extra={"frame": CANARY})
    logging.getLogger("aiormq.connection").warning("Sending %r", CANARY)
    loop = asyncio.new_event_loop()
    # What asyncio says of a callback that fails has the callback's arguments in it.
    loop.call_soon(lambda body: int(body), CANARY)  # noqa: PLW0108
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    text = pipe.lines(handler)
    assert CANARY not in "\n".join(text)
    assert [json.loads(line)["message"] for line in text] == [
        "Unhandled message …",
        "unhandled error in the event loop",
    ]


def test_a_line_that_cannot_be_made_costs_itself_alone(pipe: Pipe) -> None:
    handler = logs.configure("info", "text", "w-1", descriptor=pipe.writer)

    class Unprintable:
        def __str__(self) -> str:
            raise ValueError(CANARY)

    logging.getLogger("memq_worker.any").info("first", extra={"field": Unprintable()})
    logging.getLogger("memq_worker.any").info("second")
    first, second = pipe.lines(handler)
    assert "could not be made" in first
    assert CANARY not in first
    assert second.endswith("second")


def test_nobody_waits_for_a_reader_that_has_stopped_and_lines_lost_to_it_are_counted(pipe: Pipe) -> None:
    sent = 25_000
    handler = logs.configure("info", "json", "w-1", descriptor=pipe.writer)

    def log() -> None:
        for number in range(sent):
            logging.getLogger("memq_worker.any").info("batch written", extra={"number": number})

    logging_ = threading.Thread(target=log, daemon=True)
    logging_.start()
    logging_.join(60)
    assert not logging_.is_alive(), "a full pipe has stopped the one who logs"
    read = [json.loads(line) for line in pipe.lines(handler)]
    (told,) = [line for line in read if line["message"] == "log lines dropped"]
    numbers = [line["number"] for line in read if "number" in line]
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    assert len(numbers) + told["dropped"] == sent


def test_a_process_ends_although_nobody_reads_its_log() -> None:
    code = (
        "import logging; from memq_worker.observe import logs; logs.configure('info', 'json', 'w')\n"
        "for _ in range(20_000): logging.getLogger('memq_worker.x').info('batch written')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    try:
        assert process.wait(60) == 0
    finally:
        process.kill()
        assert process.stderr is not None
        process.stderr.close()


@pytest.mark.parametrize(
    ("code", "told", "exit_code"),
    [
        (f"int({SPELT})", "unexpected error, exiting", 1),
        (f"threading.Thread(target=int, args=[{SPELT}]).start()", "unhandled error in a thread", 0),
        (f"type('X', (), {{'__del__': lambda self: int({SPELT})}})()", "unhandled error in a background task", 0),
        (f"warnings.warn({SPELT})", "Python warning", 0),
    ],
)
def test_what_python_says_by_itself_is_a_line_and_quotes_nothing(code: str, told: str, exit_code: int) -> None:
    start = (
        "import threading, warnings; from memq_worker.observe import exception_hooks, logs\n"
        "logs.configure('info', 'json', 'w'); exception_hooks.log_uncaught()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == exit_code
    (line,) = ended.stderr.splitlines()
    said = json.loads(line)
    assert said["message"] == told
    if told == "Python warning":
        assert said["warning"] == "UserWarning"
    else:
        assert said["exc_info"][-1] == "ValueError"
    assert CANARY not in ended.stderr


def test_lines_in_excess_are_counted_in_one_that_follows(pipe: Pipe) -> None:
    handler = logs.configure("info", "json", "w-1", repeats=3, descriptor=pipe.writer)
    for number in range(10):
        logging.getLogger("memq_worker.any").warning("delivery not applied", extra={"code": "invalid", "n": number})
        logging.getLogger("memq_worker.any").info("batch written")
    read = [json.loads(line) for line in pipe.lines(handler)]
    assert [line["n"] for line in read if line["message"] == "delivery not applied"] == [0, 1, 2]
    assert len([line for line in read if line["message"] == "batch written"]) == 10
    (told,) = [line for line in read if line["message"] == "repeated lines left out"]
    assert (told["repeated"], told["code"], told["suppressed"], told["level"]) == (
        "delivery not applied",
        "invalid",
        7,
        "WARNING",
    )


def test_the_count_is_told_when_no_line_follows(pipe: Pipe) -> None:
    handler = BackgroundHandler(pipe.writer, Repeats(1, 0.2, logging.WARNING))
    handler.setFormatter(logs.JsonLines("w-1"))
    logger = logging.getLogger("memq_worker.lonely")
    logger.addHandler(handler)
    try:
        for _ in range(5):
            logger.warning("delivery not applied")
        seen = b""
        while b"left out" not in seen:
            seen += os.read(pipe.reader, 65536)  # the suite's time limit ends it, if nothing comes
        assert b'"suppressed":4' in seen
    finally:
        logger.removeHandler(handler)
        pipe.lines(handler)
