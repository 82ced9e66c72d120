import asyncio
import logging
import os
import shutil
from typing import Any

from . import identity
from .collection import Collection
from .convert import creation
from .convert.changes import changed
from .optimizer import Optimizer
from .options import EngineOptions
from .place import Place, unwritable
from .refusal import Refused, StatusCode, invalid, not_found
from .registry import IDENTITY_FILE, Registry, sync_directory

log = logging.getLogger(__name__)

_DISK_FULL = "Service internal error: No space left on device: WAL buffer size exceeds available disk space"
# Loading replays what was not flushed, a second's worth of writes, and that too dies by SIGBUS on a full disk.
_LOAD_BYTES = 64 * 1024**2


class DiskFullError(Exception):
    pass


class Engine:
    """All collections of a data directory, open. The caller owns the directory (see ownership)."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._shards = options.data_dir / "shards"
        self._registry = Registry.open(options.data_dir / "collections.json", self._shards)
        self.identity = identity.establish(options.data_dir)
        self._place = Place(options.data_dir, options.data_dir / IDENTITY_FILE)
        self._shards.mkdir(exist_ok=True)
        self._collections: dict[str, Collection] = {}
        self._optimizer = Optimizer(options)
        self.large = asyncio.Lock()
        """Held by a large request while it waits and runs, and during a flush. Small requests need it not."""

    def load(self) -> None:
        free, needed = self._free_bytes(), min(self._options.min_free_bytes, _LOAD_BYTES)
        if free < needed:
            raise DiskFullError(f"{self._options.data_dir} has {free} bytes free and {needed} are needed to open it")
        known = self._registry.items()
        self._sweep({shard for _, shard, _ in known})
        for name, shard, request in known:
            self._collections[name] = Collection.load(self._shards / shard, request, self._options.search_threads)
        log.info("collections loaded", extra={"collections": len(known)})

    def _sweep(self, known: set[str]) -> None:
        for path in self._shards.iterdir():
            if path.name not in known:
                log.warning("unfinished shard removed", extra={"shard": path.name})
                shutil.rmtree(path)

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._options.data_dir).free

    def check_disk(self, size: int = 0) -> None:
        """Raise Refused if a request of `size` bytes cannot be written. Call it before every write."""
        self._place.check()
        found = os.statvfs(self._options.data_dir)
        if found.f_flag & os.ST_RDONLY:
            raise unwritable(self._options.data_dir, "the file system is read-only")
        if found.f_bavail * found.f_frsize < self._options.min_free_bytes + size:
            raise Refused(StatusCode.INTERNAL, _DISK_FULL)

    def check_health(self) -> None:
        """Raise Refused if the data directory is gone or cannot be written."""
        self._place.check()
        if os.statvfs(self._options.data_dir).f_flag & os.ST_RDONLY:
            raise unwritable(self._options.data_dir, "the file system is read-only")
        for collection in self._collections.values():
            collection.check_writable()

    def check_identity(self, expected: str) -> None:
        """Raise Refused if the caller expects another store than this one."""
        if expected != self.identity:
            raise Refused(
                StatusCode.FAILED_PRECONDITION,
                f"memq store {self.identity} serves {self._options.data_dir}; the caller expects store {expected}",
            )

    def names(self) -> list[str]:
        return sorted(self._collections)

    def has(self, name: str) -> bool:
        return name in self._collections or self._registry.aliases.get(name) in self._collections

    def aliases(self) -> dict[str, str]:
        """Collection names by alias."""
        return self._registry.aliases

    def create_alias(self, alias: str, name: str) -> None:
        """Point `alias` to the collection, wherever it pointed before."""
        if name not in self._collections:
            raise not_found(f"Collection `{name}` doesn't exist!")
        if alias in self._collections:
            raise Refused(StatusCode.ALREADY_EXISTS, f"Wrong input: Collection `{alias}` already exists!")
        self._registry.set_aliases({**self._registry.aliases, alias: name})

    def rename_alias(self, old: str, new: str) -> None:
        aliases = self._registry.aliases
        if old not in aliases:
            raise not_found(f"Alias {old} does not exists!")
        aliases[new] = aliases.pop(old)
        self._registry.set_aliases(aliases)

    def delete_alias(self, alias: str) -> None:
        aliases = self._registry.aliases
        if aliases.pop(alias, None) is not None:
            self._registry.set_aliases(aliases)

    def collection(self, name: str) -> Collection:
        """The open collection of this name or alias; an alias hides a collection of the same name."""
        found = self._collections.get(self._registry.aliases.get(name, name))
        if found is None:
            creation.check_name(name)
            raise not_found(f"Collection `{name}` doesn't exist!")
        self._optimizer.make_way(found)
        return found

    def create(self, request: Any) -> None:
        creation.check_creation(request)
        name: str = request.collection_name
        if name in self._collections:
            raise Refused(StatusCode.ALREADY_EXISTS, f"Wrong input: Collection `{name}` already exists!")
        if name in self._registry.aliases:
            problem = f"Can't create collection with name {name}. Alias with the same name already exists"
            raise invalid(f"Wrong input: {problem}")
        self.check_disk()
        shard = self._registry.new_shard_name()
        path = self._shards / shard
        try:
            collection = Collection.create(path, request, self._options.search_threads)
        except Refused:
            shutil.rmtree(path, ignore_errors=True)
            raise
        # The shard is whole on disk before the registry names it, so a crash leaves nothing or a collection.
        sync_directory(path)
        sync_directory(self._shards)
        try:
            self._registry.add(name, shard, request)
        except OSError as error:
            collection.close()
            shutil.rmtree(path)
            raise Refused(StatusCode.INTERNAL, f"Service internal error: {error.strerror}") from error
        self._collections[name] = collection
        log.info("collection created", extra={"collection": name, "shard": shard})

    def update(self, request: Any) -> None:
        """Change the collection's configuration. The shard is closed and opened with it."""
        creation.check_update(request)
        collection = self.collection(request.collection_name)
        created_with = changed(collection.created_with, request)
        if created_with == collection.created_with:
            return
        creation.check_storage(created_with)
        self.check_disk()
        collection.reconfigure(created_with)
        self._registry.update(collection.name, created_with)

    def delete(self, name: str) -> bool:
        creation.check_name(name)
        collection = self._collections.get(name)
        if collection is None:
            return False
        self._optimizer.make_way(collection)
        self._registry.remove(name)
        del self._collections[name]
        collection.close()
        shutil.rmtree(collection.path)
        log.info("collection deleted", extra={"collection": name, "shard": collection.path.name})
        return True

    async def flush(self) -> None:
        """Flush the collections that were written to.

        The engine's flush stops everything else. So the files are written to disk before it, first beside all requests,
        then beside small ones only, and it finds little left.
        """
        for name, collection in list(self._collections.items()):
            if not collection.dirty:
                continue
            await asyncio.to_thread(collection.sync)
            async with self.large:
                await asyncio.to_thread(collection.sync)
                try:
                    collection.flush()
                except Exception:
                    # The collection stays dirty and the next tick tries again. Its writes are in the WAL meanwhile, and
                    # no more are accepted: the WAL cannot be made durable either.
                    log.exception("flush failed", extra={"collection": name})

    def optimize_when_idle(self) -> None:
        self._optimizer.tick(self._collections.values())

    def close(self) -> None:
        self._optimizer.stop()
        for name, collection in self._collections.items():
            try:
                collection.close()
            except Exception:
                log.exception("close failed", extra={"collection": name})
        self._collections.clear()
