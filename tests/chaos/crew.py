"""The workers of an experiment: forks of one process with faults patched in, watched through their log."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import suppress
from os import kill
from typing import TYPE_CHECKING, Any

from tests.chaos.entry import VARIABLE
from tests.support.until import until
from tests.support.worker import WorkerProcess

if TYPE_CHECKING:
    from tests.chaos.entry import Orders

PROGRAM = ("-m", "tests.chaos.entry")


class Crew:
    def __init__(
        self,
        orders: Orders,
        settings: dict[str, Any],
        wrapper: tuple[str, ...] = (),
        python: str = sys.executable,
        **variables: str,
    ) -> None:
        """`wrapper` goes before the command line: faketime, or a shell that sets limits."""
        self.orders = orders
        program = (*wrapper, python, *PROGRAM)
        self._process = WorkerProcess(settings, program=program, **{VARIABLE: orders.text()}, **variables)
        self._read = 0
        self._events: dict[str, list[dict[str, Any]]] = {}

    async def ready(self, workers: int | None = None, within: float = 60.0) -> None:
        count = self.orders.workers if workers is None else workers
        await self.until("worker ready", count=count, within=within)

    async def until(self, message: str, count: int = 1, within: float = 60.0, **fields: Any) -> dict[str, Any]:
        """The `count`-th line with this message and these fields; fails with the log when it does not come."""

        def come() -> bool:
            assert len(self.logged(message, **fields)) >= count or self.running, f"the workers ended:\n{self.text}"
            return len(self.logged(message, **fields)) >= count

        try:
            await until(come, within=within, every=0.05)
        except AssertionError as error:
            raise AssertionError(f"no {message!r} {fields} within {within:g} s:\n{self.text[-5000:]}") from error
        return self.logged(message, **fields)[count - 1]

    def logged(self, message: str, **fields: Any) -> list[dict[str, Any]]:
        lines = self._process.lines(self._read)
        self._read += len(lines)
        for line in lines:
            if line.startswith("{"):
                event = json.loads(line)
                self._events.setdefault(event["message"], []).append(event)
        return [event for event in self._events.get(message, []) if fields.items() <= event.items()]

    @property
    def text(self) -> str:
        return self._process.text

    @property
    def running(self) -> bool:
        return self._process.process.poll() is None

    @property
    def pids(self) -> dict[int, int]:
        """Slot and process of each worker that is alive, as far as the log has said."""
        over = {line["pid"] for line in self.logged("life over")}
        return {line["slot"]: line["pid"] for line in self.logged("life") if line["pid"] not in over}

    @property
    def deaths(self) -> int:
        """Workers that ended by a signal."""
        return sum(1 for line in self.logged("life over") if line["code"] < 0)

    def signal(self, slot: int, number: int) -> bool:
        """False when that worker has just died by itself."""
        with suppress(ProcessLookupError, KeyError):
            kill(self.pids[slot], number)
            return True
        return False

    def disarm(self) -> None:
        self._process.process.send_signal(signal.SIGUSR1)

    async def stop(self, within: float) -> int:
        """SIGTERM to every worker, and the exit code; SIGKILL and its code when that takes longer than `within`."""
        if self.running:
            self._process.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.process.wait, within)
        except subprocess.TimeoutExpired:
            self.kill()
        return await asyncio.to_thread(self._process.ended)

    def kill(self) -> None:
        """SIGKILL to everybody, parent first so that nobody is replaced."""
        if self.running:
            workers = self.pids
            self._process.process.kill()
            for pid in workers.values():
                with suppress(ProcessLookupError):
                    kill(pid, signal.SIGKILL)
