"""A pool of worker processes with the embedded engine: the installed `memq-worker run`, as its users start it."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import sys
import time
import urllib.request
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from stack.ports import free_ports
from stack.process import Process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

HOST = "127.0.0.1"
READY_SECONDS = 60.0
STOP_SECONDS = 20.0
ORPHANED_SECONDS = 10.0
MARK = "MEMQ_STACK"
TRIES = 4
# A parallel run may take one of our ports between the choice and the bind.
TAKEN = re.compile(r"cannot listen|address already in use", re.IGNORECASE)

# No proxy: a developer's http_proxy has no business with loopback.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class WorkersEnded(RuntimeError):
    """The pool ended by itself, or never got ready; its log says why."""


class Workers:
    """`environ` decides what a worker can be told by variable; data, ports and the number of processes come from here.

    Unless `environ` has MEMQ_QDRANT_URL, the pool also runs the engine, with its collections in `data`.
    """

    def __init__(self, processes: int, data: Path, log: Path, environ: Mapping[str, str]) -> None:
        self.log = log
        engine_port, metrics = free_ports(2)
        engine = f"{HOST}:{engine_port}"
        self.qdrant_url = environ.get("MEMQ_QDRANT_URL") or f"http://{engine}"
        self.metrics_url = f"http://{HOST}:{metrics}/metrics"
        self._processes = processes
        self._mark = secrets.token_hex(8)
        self._process = Process(
            [
                str(installed("memq-worker")),
                "run",
                *("--processes", str(processes)),
                *("--data-dir", str(data)),
                *("--embedded-listen", engine),
                *("--metrics-port", str(metrics)),
            ],
            log=log,
            environ={**environ, "MEMQ_LOG_FORMAT": "text", MARK: self._mark},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        """Returns when every process consumes. Raises WorkersEnded."""
        deadline = time.monotonic() + READY_SECONDS
        while await asyncio.to_thread(_consuming, self.metrics_url) < self._processes:
            self._check()
            if time.monotonic() > deadline:
                raise WorkersEnded(f"the workers were not ready after {READY_SECONDS:.0f} s")
            await asyncio.sleep(0.05)

    async def ended(self) -> None:
        """Raises WorkersEnded when the pool ends by itself; does not return."""
        while True:
            self._check()
            await asyncio.sleep(0.5)

    def stop(self) -> None:
        self._process.stop(STOP_SECONDS)
        # A pool that was killed leaves children, which notice it after a second and still write until then.
        deadline = time.monotonic() + ORPHANED_SECONDS
        while orphans := _with_variable(MARK, self._mark):
            if time.monotonic() > deadline:
                for pid in orphans:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def _check(self) -> None:
        if not self._process.running:
            raise WorkersEnded("the workers ended by themselves")


@asynccontextmanager
async def workers(processes: int, home: Path, environ: Mapping[str, str]) -> AsyncIterator[Workers]:
    """A pool that is ready, with its vectors and its log in `home`. Raises WorkersEnded."""
    pool = await _started(processes, home, environ)
    try:
        yield pool
    finally:
        await asyncio.to_thread(pool.stop)


async def _started(processes: int, home: Path, environ: Mapping[str, str]) -> Workers:
    for attempt in range(1, TRIES + 1):
        log = home / "workers.log"
        earlier = log.stat().st_size if log.exists() else 0
        pool = Workers(processes, home / "vectors", log, environ)
        try:
            await pool.ready()
        except WorkersEnded:
            await asyncio.to_thread(pool.stop)
            if attempt == TRIES or not TAKEN.search(log.read_bytes()[earlier:].decode(errors="replace")):
                raise
        except BaseException:
            await asyncio.to_thread(pool.stop)
            raise
        else:
            return pool
    raise AssertionError("unreachable")


def installed(command: str) -> Path:
    """A command of the distribution, beside the Python that runs this."""
    return Path(sys.executable).with_name(command)


def _consuming(metrics_url: str) -> int:
    try:
        with _http.open(metrics_url, timeout=2) as response:
            return len(re.findall(rb"^memq_ready\{.*\} 1\.0$", response.read(), re.MULTILINE))
    except OSError:
        return 0


def _with_variable(name: str, value: str) -> list[int]:
    """Pids of the processes with this variable. Processes of other users do not show theirs."""
    found: list[int] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(name) == value:
                found.append(process.pid)
    return found
