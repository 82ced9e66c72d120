import os
import shutil
from array import array
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from .convert import config
from .place import Place, unwritable
from .refusal import Refused, StatusCode, from_engine, not_found, unserved


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except Refused:
        raise
    except Exception as error:
        raise from_engine(error) from error
    except BaseException as error:
        # A Rust panic is a BaseException of a class that cannot be imported; gRPC would leave its caller waiting.
        if type(error).__name__ != "PanicException":
            raise
        raise Refused(StatusCode.INTERNAL, "Service internal error: the engine panicked") from error


def _load(path: Path, request: Any, search_threads: int) -> edge.EdgeShard:
    # What an interrupted optimization had built; the engine neither uses it again nor removes it.
    shutil.rmtree(path / "temp_segments", ignore_errors=True)
    return edge.EdgeShard.load(str(path), config.edge_config(request, search_threads))


class UnreadableShardError(Exception):
    pass


class Collection:
    """One open shard. Single-threaded: the engine holds the GIL through every call anyway."""

    def __init__(self, path: Path, created_with: Any, search_threads: int, shard: edge.EdgeShard) -> None:
        self.name: str = created_with.collection_name
        self.path = path
        self.created_with = created_with
        self.vectors = config.vector_contract(created_with)
        self._dirty = False
        self._places = [Place(path, each) for each in (path, path / "wal", path / "segments")]
        self._flush_error = ""
        self._search_threads = search_threads
        self._shard = shard

    @classmethod
    def create(cls, path: Path, request: Any, search_threads: int) -> "Collection":
        with _translated():
            shard = edge.EdgeShard.create(str(path), config.edge_config(request, search_threads))
            shard.flush()
        return cls(path, request, search_threads, shard)

    @classmethod
    def load(cls, path: Path, request: Any, search_threads: int) -> "Collection":
        try:
            shard = _load(path, request, search_threads)
        except Exception as error:
            raise UnreadableShardError(f"collection {request.collection_name} in {path}: {error}") from error
        return cls(path, request, search_threads, shard)

    def check_writable(self) -> None:
        """Raise Refused if a directory of the shard is gone or its last flush failed."""
        for place in self._places:
            place.check()
        if self._flush_error:
            raise unwritable(self.path, self._flush_error)

    def update(self, operation: edge.UpdateOperation) -> None:
        self.check_writable()
        self._dirty = True
        with _translated():
            self._shard.update(operation)

    def query(self, request: edge.QueryRequest) -> list[edge.ScoredPoint]:
        with _translated():
            return self._shard.query(request)

    def query_batch(self, requests: list[edge.QueryRequest]) -> list[list[edge.ScoredPoint]]:
        with _translated():
            return self._shard.query_batch(edge.QueryBatchRequest(requests))

    def retrieve(self, ids: list[Any], with_payload: Any, with_vector: Any) -> list[edge.Record]:
        with _translated():
            return self._shard.retrieve(ids, with_payload, with_vector)

    def vector_of(self, identifier: int | str, name: str) -> Any:
        """Return the stored vector that a query by point id starts from; None if the point has none of this name."""
        records = self.retrieve([identifier], False, [name])
        if not records:
            raise not_found(f"No point with id {identifier} found")
        vector: Any = records[0].vector
        if isinstance(vector, dict):
            vector = vector.get(name)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if vector is None:
            return None
        # Dense ones are arrays everywhere else, and a list is what a multivector is.
        return array("f", vector) if isinstance(vector, list) and not isinstance(vector[0], list) else vector  # pyright: ignore

    def count(self, found: edge.Filter | None, exact: bool) -> int:
        with _translated():
            return self._shard.count(edge.CountRequest(exact=exact, filter=found))

    def facet(self, key: str, limit: int, exact: bool, found: edge.Filter | None) -> list["edge.FacetHit"]:
        try:
            request = edge.FacetRequest(key, limit=limit, exact=exact, filter=found)
        except (ValueError, TypeError) as error:
            raise from_engine(error) from error
        with _translated():
            return self._shard.facet(request).hits

    def scroll(self, request: edge.ScrollRequest) -> tuple[list[edge.Record], Any]:
        with _translated():
            return self._shard.scroll(request)

    def info(self) -> "edge.ShardInfo":
        with _translated():
            return self._shard.info()

    @property
    def dirty(self) -> bool:
        """Return True if writes are not flushed yet."""
        return self._dirty or bool(self._flush_error)

    def sync(self) -> None:
        """Write the files of the shard to disk, so that the next flush has little left to write.

        The flush itself, which stops everything else meanwhile, reports what cannot be written. For any thread.
        """
        for folder, _, names in os.walk(self.path):
            for name in names:
                with suppress(OSError):  # one that a request has removed meanwhile
                    descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
                    try:
                        os.fdatasync(descriptor)
                    finally:
                        os.close(descriptor)

    def flush(self) -> None:
        if self._dirty or self._flush_error:
            try:
                self._shard.flush()
            except Exception as error:
                self._flush_error = f"flush failed: {str(error)[:200]}"
                raise
            self._dirty, self._flush_error = False, ""

    def close(self) -> None:
        self.flush()
        self._shard.close()

    def reopen(self) -> None:
        self._shard = _load(self.path, self.created_with, self._search_threads)

    def reconfigure(self, created_with: Any) -> None:
        """Open the shard anew with another configuration. Raises Refused and keeps the old one if it cannot."""
        before = self.created_with
        self.close()
        self.created_with = created_with
        try:
            with _translated():
                self.reopen()
        except Refused as refused:
            self.created_with = before
            self.reopen()
            if "incompatible" in refused.details:
                raise unserved("this change of a collection that holds points") from refused
            raise
        self.vectors = config.vector_contract(created_with)

    def unindexed(self) -> int:
        """Vectors that a query compares one by one."""
        info = self.info()
        return info.points_count * len(self.vectors.sizes) - info.indexed_vectors_count
