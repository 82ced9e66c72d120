"""One engine per data directory, held with flock so that the kernel lets go when the process dies."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class DirectoryInUseError(Exception):
    pass


class Ownership:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._write(f"{os.getpid()}\n")

    def announce(self, address: str) -> None:
        """Error message of a second engine on this directory."""
        self._write(f"{os.getpid()} {address}\n")

    def _write(self, text: str) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)


@contextmanager
def own(data_dir: Path) -> Generator[Ownership]:
    path = data_dir / "engine.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DirectoryInUseError(_advice(data_dir, path)) from error
        yield Ownership(descriptor)
    finally:
        os.close(descriptor)


def address_of(data_dir: Path) -> str | None:
    """Address of the engine that runs on this directory; None if none does, or it is not serving yet."""
    path = data_dir / "engine.lock"
    try:
        with path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return path.read_text().strip().partition(" ")[2] or None
    except (FileNotFoundError, NotADirectoryError):
        pass
    return None


def _advice(data_dir: Path, path: Path) -> str:
    pid, _, address = path.read_text().strip().partition(" ")
    return (
        f"data directory {data_dir} is in use by process {pid or 'unknown'}; "
        f"to share its engine set MEMQ_QDRANT_URL=http://{address or 'HOST:PORT'}, or stop it first"
    )
