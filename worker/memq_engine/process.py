"""Start, serve, stop: everything about being a process of its own."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Generator

from .collection import UnreadableShardError
from .engine import DiskFullError, Engine
from .identity import IdentityError
from .options import EngineOptions
from .ownership import DirectoryInUseError, Ownership, own
from .registry import RegistryError
from .server import AddressError, Server

log = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_REFUSED = 2
_REFUSALS = (
    DirectoryInUseError,
    IdentityError,
    RegistryError,
    UnreadableShardError,
    DiskFullError,
    AddressError,
    OSError,
)
_PARENT_CHECK_SECONDS = 1.0
_OPTIMIZE_CHECK_SECONDS = 0.5


async def run(options: EngineOptions) -> int:
    """Serves until a signal or the parent's death. Returns the exit code; says on stderr why it would not start."""
    try:
        options.data_dir.mkdir(parents=True, exist_ok=True)
        with own(options.data_dir) as ownership:
            await _serve(options, ownership)
    except _REFUSALS as error:
        sys.stderr.write(f"memq embedded engine: {error}\n")
        return EXIT_REFUSED
    return EXIT_OK


async def _serve(options: EngineOptions, ownership: Ownership) -> None:
    engine = Engine(options)
    try:
        engine.load()
        server = Server(engine, options.listen)
        with _stop_event() as stop:
            await server.start()
            ownership.announce(server.address)
            log.info("engine ready", extra={"address": server.address, "data_dir": str(options.data_dir)})
            sys.stdout.write(f"listening on {server.address}\n")
            sys.stdout.flush()
            async with asyncio.TaskGroup() as tasks:
                chores = [
                    tasks.create_task(chore)
                    for chore in (_flush(engine, options), _optimize(engine), _watch_parent(options, stop))
                ]
                await stop.wait()
                await server.stop(options.stop_grace_seconds)
                for chore in chores:
                    chore.cancel()
    finally:
        engine.close()
    log.info("engine stopped", extra={"data_dir": str(options.data_dir)})


@contextlib.contextmanager
def _stop_event() -> Generator[asyncio.Event]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        signals.append(signal.SIGHUP)
    for each in signals:
        loop.add_signal_handler(each, stop.set)
    try:
        yield stop
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


async def _flush(engine: Engine, options: EngineOptions) -> None:
    while True:
        await asyncio.sleep(options.flush_seconds)
        await engine.flush()


async def _optimize(engine: Engine) -> None:
    while True:
        await asyncio.sleep(_OPTIMIZE_CHECK_SECONDS)
        engine.optimize_when_idle()


async def _watch_parent(options: EngineOptions, stop: asyncio.Event) -> None:
    while options.parent_pid is not None:
        if os.getppid() != options.parent_pid:
            log.warning("parent process exited, stopping", extra={"parent_pid": options.parent_pid})
            stop.set()
            return
        await asyncio.sleep(_PARENT_CHECK_SECONDS)
