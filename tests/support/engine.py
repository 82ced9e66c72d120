"""The embedded engine as a subprocess: the real command line, a free port, stopped by its own process object."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
    """A running engine. After `kill` or `stop`, `start` runs it again on the same directory and the same port."""

    def __init__(self, data_dir: Path, options: dict[str, object]) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir.with_name(f"{data_dir.name}.log")
        self._options = {"listen": "127.0.0.1:0", **options}
        self._process: asyncio.subprocess.Process | None = None
        self.address = ""

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "the engine is not running"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    async def start(self, **options: object) -> None:
        """`options` replace those of the last start."""
        assert self._process is None, "the engine is running already"
        self._options |= options
        arguments = [
            part for name, value in self._options.items() for part in (f"--{name.replace('_', '-')}", str(value))
        ]
        with self.log_path.open("ab") as log:
            begin = log.tell()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "memq_worker.embedded", "--data-dir", str(self.data_dir), *arguments,
                stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert process.stdout is not None
        ready = (await asyncio.wait_for(process.stdout.readline(), START_SECONDS)).decode()
        if not ready:
            code = await process.wait()
            raise EngineRefusedError(code, self.log_path.read_bytes()[begin:].decode())
        self._process = process
        self.address = ready.removeprefix("listening on ").strip()
        self._options["listen"] = self.address

    async def stop(self) -> int:
        """SIGTERM, and the exit code."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> int:
        return await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> int:
        process = self.process
        process.send_signal(how)
        return await self.ended()

    async def ended(self) -> int:
        """Waits for an end that something else caused."""
        code = await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        self._process = None
        return code

    async def close(self) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            self._process = None


@asynccontextmanager
async def embedded_engine(data_dir: Path, **options: object) -> AsyncIterator[EmbeddedEngine]:
    """`options` are the command line's: min_free_bytes, flush_seconds, listen, …"""
    engine = EmbeddedEngine(data_dir, options)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()
