"""Existing collections and the directories of their shards: one file, replaced atomically.

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
    def __init__(self, path: Path, entries: dict[str, dict[str, Any]], aliases: dict[str, str]) -> None:
        self._path = path
        self._entries = entries
        self._aliases = aliases

    @classmethod
    def open(cls, path: Path, shards: Path) -> "Registry":
        """Read the registry, or create an empty one for a directory that has never been used.

        Raises RegistryError if the directory has been used and the registry is missing: its collections would be lost.
        """
        if path.exists():
            try:
                stored = json.loads(path.read_bytes())
                version, entries, aliases = stored["format"], stored["collections"], stored.get("aliases", {})
            except (ValueError, KeyError, TypeError) as error:
                raise RegistryError(f"{path} is not a readable collection registry: {error}") from error
            if version != FORMAT:
                raise RegistryError(f"{path} has format {version}; this version of memq reads format {FORMAT}")
            return cls(path, entries, aliases)
        if shards.exists() and any(shards.iterdir()):
            raise RegistryError(f"{shards} holds data but {path} is missing; restore it before starting")
        if (path.parent / IDENTITY_FILE).exists():
            raise RegistryError(
                f"{path} is missing from a data directory that has been used: restore it, "
                f"or remove {path.parent} to start a new, empty store"
            )
        registry = cls(path, {}, {})
        registry._write({}, {})
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

    @property
    def aliases(self) -> dict[str, str]:
        """Collection names by alias."""
        return dict(self._aliases)

    def add(self, name: str, shard: str, request: Any) -> None:
        """The collection exists, for good, once this returns."""
        self._write({**self._entries, name: _entry(shard, request)}, self._aliases)

    def update(self, name: str, request: Any) -> None:
        """Record that the collection is now as if it had been created with `request`."""
        shard = self._entries[name]["shard"]
        self._write({**self._entries, name: _entry(shard, request)}, self._aliases)

    def remove(self, name: str) -> None:
        """Forget the collection and its aliases."""
        entries = {known: entry for known, entry in self._entries.items() if known != name}
        self._write(entries, {alias: owner for alias, owner in self._aliases.items() if owner != name})

    def set_aliases(self, aliases: dict[str, str]) -> None:
        self._write(self._entries, aliases)

    def _write(self, entries: dict[str, dict[str, Any]], aliases: dict[str, str]) -> None:
        stored: dict[str, Any] = {"format": FORMAT, "collections": entries}
        if aliases:
            stored["aliases"] = aliases
        body = json.dumps(stored, indent=1, ensure_ascii=False).encode()
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        sync_directory(self._path.parent)
        self._entries = entries
        self._aliases = aliases


def _entry(shard: str, request: Any) -> dict[str, Any]:
    return {"shard": shard, "created_with": MessageToDict(request, preserving_proto_field_name=True)}


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
