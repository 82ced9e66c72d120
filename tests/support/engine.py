"""The embedded engine as a subprocess: the real command line, a free port, stopped by its own process object."""

from __future__ import annotations

import itertools
import select
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
from qdrant_client import grpc as q

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 30.0


class EngineRefusedError(Exception):
    """The engine exited instead of getting ready."""

    def __init__(self, code: int, stderr: str) -> None:
        super().__init__(f"engine exited with {code}: {stderr}")
        self.code = code
        self.stderr = stderr


class EmbeddedEngine:
    """Runs between `start` and one of `stop`, `kill` or its own end; starting again keeps directory and port."""

    def __init__(self, data_dir: Path, options: dict[str, object]) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir.with_name(f"{data_dir.name}.log")
        self.address = ""
        self.starts = 0
        self._options = {"listen": "127.0.0.1:0", **options}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the engine is not running"
        return self._process

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self, **options: object) -> None:
        """Returns when the engine answers. `options` replace those of the last start."""
        assert self._process is None, "the engine is running already"
        self._options |= options
        with self.log_path.open("ab") as log:
            begin = log.tell()
            process = subprocess.Popen(self._command(), stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline().decode() if ready else ""
        if not line:
            process.kill() if not ready else None
            code = process.wait(STOP_SECONDS)
            process.stdout.close()
            raise EngineRefusedError(code, self.log_path.read_bytes()[begin:].decode())
        self._process = process
        self.starts += 1
        self.address = line.removeprefix("listening on ").strip()
        self._options["listen"] = self.address

    def _command(self) -> list[str]:
        options = [
            part for name, value in self._options.items() for part in (f"--{name.replace('_', '-')}", f"{value}")
        ]
        return [sys.executable, "-m", "memq_engine", "--data-dir", f"{self.data_dir}", *options]

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.ended()

    def kill(self) -> int:
        """SIGKILL: what the engine had not written is gone."""
        self.process.kill()
        return self.ended()

    def ended(self) -> int:
        """Waits for an end that something else causes."""
        process = self.process
        code = process.wait(STOP_SECONDS)
        assert process.stdout is not None
        process.stdout.close()
        self._process = None
        return code

    def close(self) -> None:
        if self._process is not None:
            self.kill()


@contextmanager
def embedded_engine(data_dir: Path, **options: object) -> Iterator[EmbeddedEngine]:
    """`options` are the command line's: min_free_bytes, flush_seconds, listen, …"""
    engine = EmbeddedEngine(data_dir, options)
    try:
        engine.start()
        yield engine
    finally:
        engine.close()


class SharedEngine:
    """One engine for many tests, each of which finds it empty. A test that has ended it leaves the next one another."""

    def __init__(self, directory: Path, **options: object) -> None:
        self._directories = (directory / f"data-{number}" for number in itertools.count())
        self._options = options
        self._engine: EmbeddedEngine | None = None

    def take(self) -> EmbeddedEngine:
        if self._engine is None:
            self._engine = EmbeddedEngine(next(self._directories), self._options)
            self._engine.start()
        return self._engine

    def give_back(self) -> None:
        """Delete every collection, or close an engine that is not as it was started."""
        engine = self.take()
        if engine.starts > 1 or not engine.running:
            self.close()
            return
        with grpc.insecure_channel(engine.address) as channel:
            collections = q.CollectionsStub(channel)
            for found in collections.List(q.ListCollectionsRequest(), timeout=START_SECONDS).collections:
                collections.Delete(q.DeleteCollection(collection_name=found.name), timeout=START_SECONDS)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None
