"""The identity of a data directory: one UUID in the file `store-id`, written when the directory is first used."""

import os
import uuid
from pathlib import Path

from .registry import IDENTITY_FILE, sync_directory


class IdentityError(Exception):
    """The file `store-id` is there and holds no UUID."""


def read(data_dir: Path) -> str | None:
    """Return the identity of `data_dir`, or None if the directory has none yet. Raises IdentityError and OSError."""
    path = data_dir / IDENTITY_FILE
    try:
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        text = ""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise IdentityError(f"{path} holds no UUID: restore it from a backup of {data_dir}") from None


def establish(data_dir: Path) -> str:
    """Return the identity of `data_dir`, and write a new one first if there is none.

    The caller owns the directory (see ownership). Raises IdentityError and OSError.
    """
    known = read(data_dir)
    if known is not None:
        return known
    made = str(uuid.uuid4())
    fresh = data_dir / f"{IDENTITY_FILE}.new"
    with fresh.open("w", encoding="ascii") as file:
        file.write(f"{made}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(data_dir / IDENTITY_FILE)
    sync_directory(data_dir)
    return made
