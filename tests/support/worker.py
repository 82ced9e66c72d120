"""The worker as a subprocess: the installed command, its JSON log as the events to wait for, stopped by its own pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stack.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.broker import Address

COMMAND = str(Path(sys.executable).with_name("memq-worker"))
READY_SECONDS = 60.0
STOP_SECONDS = 40.0


class WorkerProcess:
    """Runs from the moment it is made. Its log lines are collected as they come."""

    def __init__(
        self, settings: dict[str, Any], command: str = "run", program: Sequence[str] = (), **variables: str
    ) -> None:
        """`program` instead of the installed command; `variables` of the environment beside the settings."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")}
        environ |= {f"MEMQ_{name.upper()}": str(value) for name, value in settings.items()} | variables
        self.settings = settings
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            program or [COMMAND, command], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._readers = [
            threading.Thread(target=self._read, args=(stream, name == "stderr"), daemon=True)
            for name, stream in (("stderr", self.process.stderr), ("stdout", self.process.stdout))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, keep: bool) -> None:
        for line in stream:
            if keep:
                with self._news:
                    self._lines.append(line)
                    self._news.notify_all()
        if keep:
            with self._news:
                self._ended = True
                self._news.notify_all()

    @property
    def text(self) -> str:
        with self._news:
            return "".join(self._lines)

    def lines(self, start: int) -> list[str]:
        """From the line numbered `start` on."""
        with self._news:
            return self._lines[start:]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log so far; lines that are not JSON are left out."""
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]

    def logged(self, message: str, **fields: Any) -> list[dict[str, Any]]:
        wanted = {"message": message, **fields}
        return [event for event in self.events if wanted.items() <= event.items()]

    def until(self, message: str, count: int = 1, within: float = READY_SECONDS, **fields: Any) -> dict[str, Any]:
        """The `count`-th line with this message and these fields; fails with the log when it does not come."""
        deadline = time.monotonic() + within
        while True:
            found = self.logged(message, **fields)
            if len(found) >= count:
                return found[count - 1]
            with self._news:
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    raise AssertionError(f"no {message!r} {fields} in the log:\n{''.join(self._lines)}")
                self._news.wait(min(left, 1.0))

    def ready(self, sessions: int = 1) -> WorkerProcess:
        self.until("worker ready", count=sessions)
        return self

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> int:
        self.process.kill()
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(STOP_SECONDS)
        for reader in self._readers:
            reader.join(STOP_SECONDS)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code


def free_port() -> int:
    return free_ports(1)[0]


@contextmanager
def running_worker(address: Address, **settings: Any) -> Iterator[WorkerProcess]:
    """A worker that is ready, on `qdrant_url` or else on an embedded engine of its own in `data_dir`.

    `program` among the settings replaces the installed command. Killed at the end unless the test has stopped it.
    """
    program: Sequence[str] = settings.pop("program", ())
    given: dict[str, Any] = {
        "amqp_url": address.url,
        "prefix": address.prefix,
        "metrics_port": 0,
        "worker_name": "tested",
    }
    if "qdrant_url" not in settings:
        given["embedded_listen"] = f"127.0.0.1:{free_port()}"
    worker = WorkerProcess(given | settings, program=program)
    try:
        yield worker.ready()
    finally:
        if worker.process.poll() is None:
            worker.kill()
        worker.ended()  # closes the pipes of one that ended by itself, too
