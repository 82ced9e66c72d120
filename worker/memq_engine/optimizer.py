"""Indexing large collections while nobody asks for them.

The engine indexes only when told to, and holds the GIL from the first vector to the last: 19 s for 30,000 points,
57 s for 60,000 on two cores, minutes after that. Done here, it would stop every collection and the health check for
that long. So a child process opens the shard and indexes it, and a request for that collection kills the child and
has its shard back within a fraction of a second: the engine builds beside the old data and switches at the end, so
what a killed child leaves is the shard as it was. Below 50,000 points all of it would buy a query 5 ms.
"""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable

from .collection import Collection
from .options import EngineOptions

log = logging.getLogger(__name__)


class _Run:
    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.started = time.monotonic()
        collection.close()
        command = [sys.executable, "-m", f"{__package__}.optimize", str(collection.path), str(os.getpid())]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def end(self) -> int:
        """Kills the child unless it is done. The collection is open again afterwards."""
        self.process.kill()
        code = self.process.wait()
        self.collection.reopen()
        return code


class Optimizer:
    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._last_request = time.monotonic()
        self._run: _Run | None = None
        self._hopeless: set[Collection] = set()

    def make_way(self, collection: Collection) -> None:
        """Open the collection. Call it before every use."""
        self._last_request = time.monotonic()
        if self._run is not None and self._run.collection is collection:
            log.info("optimization interrupted by a request", extra={"collection": collection.name})
            self._end_run()

    def tick(self, collections: Iterable[Collection]) -> None:
        if self._run is not None:
            if self._run.process.poll() is not None:
                self._settle()
        elif self._options.optimize_idle_seconds and self._is_idle():
            self._start_one(collections)

    def stop(self) -> None:
        if self._run is not None:
            self._end_run()

    def _is_idle(self) -> bool:
        return time.monotonic() - self._last_request >= self._options.optimize_idle_seconds

    def _start_one(self, collections: Iterable[Collection]) -> None:
        for collection in collections:
            if collection not in self._hopeless and collection.unindexed() >= self._options.optimize_min_points:
                if self._has_room(collection):
                    log.info("optimization started", extra={"collection": collection.name})
                    self._run = _Run(collection)
                return

    def _has_room(self, collection: Collection) -> bool:
        """The index is built beside the data it replaces."""
        size = sum(path.stat().st_blocks * 512 for path in collection.path.rglob("*") if path.is_file())
        return shutil.disk_usage(collection.path).free > self._options.min_free_bytes + 2 * size

    def _settle(self) -> None:
        run, code = self._end_run()
        seconds = round(time.monotonic() - run.started, 3)
        unindexed = run.collection.unindexed()
        log.info(
            "optimization ended",
            extra={"collection": run.collection.name, "exit": code, "seconds": seconds, "unindexed": unindexed},
        )
        if unindexed >= self._options.optimize_min_points:
            self._hopeless.add(run.collection)

    def _end_run(self) -> tuple[_Run, int]:
        run = self._run
        assert run is not None
        code = run.end()
        self._run = None
        return run, code
