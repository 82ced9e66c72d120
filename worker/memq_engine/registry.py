"""Which collections exist, and in which directory each keeps its shard: one file, replaced atomically.

Collection names are any 255 characters, so a shard's directory has a name of its own. A shard the registry does not
know is what an interrupted creation or deletion left behind.
"""

import json
import os
import uuid
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict

from .proto import messages

FORMAT = 1
IDENTITY_FILE = "store-id"


class RegistryError(Exception):
    pass


class Registry:
    def __init__(self, path: Path, entries: dict[str, dict[str, Any]]) -> None:
        self._path = path
        self._entries = entries

    @classmethod
    def open(cls, path: Path, shards: Path) -> "Registry":
        """Read the registry, or create an empty one for a directory that has never been used.

        Raises RegistryError if the directory has been used and the registry is missing: its collections would be lost.
        """
        if path.exists():
            try:
                stored = json.loads(path.read_bytes())
                version, entries = stored["format"], stored["collections"]
            except (ValueError, KeyError, TypeError) as error:
                raise RegistryError(f"{path} is not a readable collection registry: {error}") from error
            if version != FORMAT:
                raise RegistryError(f"{path} has format {version}; this version of memq reads format {FORMAT}")
            return cls(path, entries)
        if shards.exists() and any(shards.iterdir()):
            raise RegistryError(f"{shards} holds data but {path} is missing; restore it before starting")
        if (path.parent / IDENTITY_FILE).exists():
            raise RegistryError(
                f"{path} is missing from a data directory that has been used: restore it, "
                f"or remove {path.parent} to start a new, empty store"
            )
        registry = cls(path, {})
        registry._write({})
        return registry

    def items(self) -> list[tuple[str, str, Any]]:
        """(name, directory name, CreateCollection) of every collection."""
        return [
            (name, entry["shard"], ParseDict(entry["created_with"], messages.CreateCollection()))
            for name, entry in self._entries.items()
        ]

    @staticmethod
    def new_shard_name() -> str:
        return uuid.uuid4().hex

    def add(self, name: str, shard: str, request: Any) -> None:
        """The collection exists, for good, once this returns."""
        entry = {"shard": shard, "created_with": MessageToDict(request, preserving_proto_field_name=True)}
        self._write({**self._entries, name: entry})

    def remove(self, name: str) -> None:
        self._write({known: entry for known, entry in self._entries.items() if known != name})

    def _write(self, entries: dict[str, dict[str, Any]]) -> None:
        body = json.dumps({"format": FORMAT, "collections": entries}, indent=1, ensure_ascii=False).encode()
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        sync_directory(self._path.parent)
        self._entries = entries


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
