"""A directory or file that has to stay writable where it was opened."""

import os
from pathlib import Path

from .refusal import Refused, StatusCode


def unwritable(path: Path, reason: str) -> Refused:
    """The refusal of everything that writes to `path`. Clients recognise it by "data directory"."""
    return Refused(StatusCode.UNAVAILABLE, f"data directory {path} cannot be written: {reason}")


class Place:
    """`path`, identified by its inode. `root` is the directory that messages name."""

    def __init__(self, root: Path, path: Path) -> None:
        self._root = root
        self._path = path
        self._key = self._look()
        self._directory = path.is_dir()

    def _look(self) -> tuple[int, int]:
        found = os.stat(self._path)
        return found.st_dev, found.st_ino

    def check(self) -> None:
        """Raise Refused if the path was removed or replaced since it was opened, or is a read-only directory."""
        try:
            same = self._look() == self._key
        except OSError as error:
            raise unwritable(self._root, f"{self._path.name}: {error.strerror}") from error
        if not same:
            raise unwritable(self._root, f"{self._path.name} was replaced; restart the engine")
        # Files that are open stay writable: without this question, only the next flush would show it.
        if self._directory and not os.access(self._path, os.W_OK):
            raise unwritable(self._root, f"{self._path.name} is read-only: permissions, or an immutable directory")
