import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from memq_amqp import stopped

from memq_worker.observe.endpoint import served
from memq_worker.observe.exposition import Exposition
from memq_worker.observe.member import Member
from memq_worker.observe.slot import Slot
from memq_worker.settings import Settings, file_variable, variable
from memq_worker.stop import Stop, on_signals

logger = logging.getLogger(__name__)

EXIT_CONFIGURATION = 2

_RESTART_SECONDS = 0.5


@dataclass
class Child:
    """A command of ours in a process of its own, started again when it dies."""

    name: str
    arguments: list[str]
    environment: Mapping[str, str]
    member: Member | None = None
    descriptor: int | None = None
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False

    async def live(self) -> int:
        """One life. Returns its exit code, negative for a signal."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "memq_worker",
            *self.arguments,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=() if self.descriptor is None else (self.descriptor,),
            # A terminal's Ctrl-C reaches its whole process group: ours only, or a child would count it twice.
            start_new_session=True,
        )
        if self.member:
            self.member.started(self.process.pid)
        if self.stopping:
            # Told to stop while it was being started, when there was nobody yet to signal.
            self.signal(signal.SIGTERM)
        assert self.process.stdout is not None
        async for _ in self.process.stdout:
            self.ready.set()  # the engine prints one line, once it serves
        code = await self.process.wait()
        if self.member:
            self.member.ended()
        return code

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)


class Pool:
    """The embedded engine, where there is no Qdrant, and the worker processes: started, watched, stopped."""

    def __init__(self, settings: Settings, flags: Mapping[str, str], stop: Stop) -> None:
        self._stop = stop
        self._stopped = asyncio.create_task(stop.soft.wait())
        self._drain_seconds = settings.drain_seconds
        given = dict(flags) | {"parent_pid": str(os.getpid())}
        self.engine = None if settings.qdrant_url else Child("embedded", ["embedded"], _environment(given))
        self.workers = [_worker(settings, given, number) for number in range(settings.processes)]
        self._exit = 0

    @property
    def members(self) -> list[Member]:
        return [child.member for child in self.workers if child.member]

    async def run(self) -> int:
        """Run until stopped, or until a child reports an invalid configuration. Return the exit code."""
        engine = asyncio.create_task(self._watch(self.engine)) if self.engine else None
        if self.engine:
            ready = asyncio.create_task(self.engine.ready.wait())
            await asyncio.wait({ready, self._stopped}, return_when=asyncio.FIRST_COMPLETED)
            await stopped(ready)
        workers = [asyncio.create_task(self._watch(child)) for child in self.workers]
        await self._stopped
        await self._end(self.workers, workers, self._drain_seconds + 5)
        if self.engine and engine:
            # Last: the workers are still writing to it while they drain.
            await self._end([self.engine], [engine], 15.0)
        return self._exit

    async def _watch(self, child: Child) -> None:
        while not child.stopping:
            code = await child.live()
            if child.stopping:
                return
            if code == EXIT_CONFIGURATION:
                # It has said why, and would say it again.
                self._exit = EXIT_CONFIGURATION
                self._stop.soft.set()
                return
            logger.error("child process exited, restarting", extra={"child": child.name, "exit_code": code})
            await asyncio.wait({self._stopped}, timeout=_RESTART_SECONDS)
            if child.member and not child.stopping:
                child.member.restarts += 1

    async def _end(self, children: list[Child], watches: list[asyncio.Task[None]], seconds: float) -> None:
        for child in children:
            child.stopping = True
        _each(children, signal.SIGTERM)
        hard = asyncio.create_task(self._stop.hard.wait())
        everyone = asyncio.ensure_future(asyncio.wait(watches))
        try:
            await asyncio.wait({hard, everyone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not everyone.done():
                _each(children, signal.SIGTERM)
                await asyncio.wait({everyone}, timeout=5)
            if not everyone.done():
                _each(children, signal.SIGKILL)
            await everyone
        finally:
            await stopped(hard)


def _each(children: list[Child], number: int) -> None:
    for child in children:
        child.signal(number)


def _worker(settings: Settings, given: Mapping[str, str], number: int) -> Child:
    slot, descriptor = Slot.shared()
    own = {"slot": str(number), "slot_descriptor": str(descriptor)} | _own(settings, number)
    return Child(
        f"worker-{number}", ["run"], _environment({**given, **own}), member=Member(number, slot), descriptor=descriptor
    )


def _own(settings: Settings, number: int) -> dict[str, str]:
    """Settings of worker `number` that differ from its pool's."""
    return {
        "qdrant_url": settings.qdrant_url or f"http://{settings.embedded_listen}",
        "processes": "1",
        "worker_name": f"{settings.worker_name}-{number}",
        "metrics_port": "0",
    }


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    # A flag wins over the file of a secret, which the child would refuse beside it.
    files = {file_variable(name) for name in settings}
    inherited = {name: value for name, value in os.environ.items() if name not in files}
    return inherited | {variable(name): value for name, value in settings.items()}


async def supervise(settings: Settings, flags: Mapping[str, str]) -> int:
    """Runs a pool until SIGTERM or SIGINT. `flags` are handed on to the children. Returns the exit code."""
    with on_signals(Stop()) as stop:
        pool = Pool(settings, flags, stop)
        exposition = Exposition(pool.members, settings.topology_labels)
        with served(pool.members, exposition, settings.metrics_host, settings.metrics_port):
            watch = asyncio.create_task(_watch(exposition))
            try:
                return await pool.run()
            finally:
                await stopped(watch)


async def _watch(exposition: Exposition) -> None:
    while True:
        exposition.processes()
        await asyncio.sleep(1)
