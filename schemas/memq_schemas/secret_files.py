"""Secrets that a file holds, which a variable names: the usual way of containers."""

from __future__ import annotations

from pathlib import Path


class SecretFileError(ValueError):
    """File that cannot be used. The text gives the reason and quotes nothing of the file."""


def read_secret(path: str | Path) -> str:
    """Return the text of the file without the white space around it. Raises SecretFileError."""
    try:
        text = Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SecretFileError(f"the file cannot be read: {reason}") from None
    if not text:
        raise SecretFileError("the file is empty")
    return text
