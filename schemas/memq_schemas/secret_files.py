"""Secrets in environment variables, or in files that a variable names: the usual way of containers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class SecretFileError(ValueError):
    """File that cannot be used. The text gives the reason and quotes nothing of the file."""


class GivenSecret(NamedTuple):
    """Value of a secret, the variable that gave it, and the file that holds it, None for none."""

    value: str
    source: str
    path: str | None = None


def file_variable(variable: str) -> str:
    """Name of the variable that names a file with the value of `variable`."""
    return f"{variable}_FILE"


def given_secret(environ: Mapping[str, str], variable: str) -> GivenSecret | None:
    """Return a secret from its variable or from the file that its _FILE variable names; None for neither.

    Raises SecretFileError naming the variable if both are set or the file cannot be used.
    """
    value, source = environ.get(variable), file_variable(variable)
    path = environ.get(source)
    if not path:
        return GivenSecret(value, variable) if value else None
    if value:
        raise SecretFileError(f"{source}: {variable} is set too; unset one of the two")
    try:
        return GivenSecret(read_secret(path), source, path)
    except SecretFileError as error:
        raise SecretFileError(f"{source}: {error}") from None


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
