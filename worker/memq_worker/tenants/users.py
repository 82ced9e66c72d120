"""RabbitMQ users of tenants: their permissions, and their passwords from files."""

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from memq_schemas.tenants import TenantNames
from memq_worker.errors import ConfigurationError
from memq_worker.tenants.file import Access, User

# With one of these tags a user may do what no permission of a virtual host limits.
_POWERFUL = frozenset({"administrator", "policymaker"})
_HASHES = {
    "rabbit_password_hashing_sha256": hashlib.sha256,
    "rabbit_password_hashing_sha512": hashlib.sha512,
}
_SALT_BYTES = 4


def permissions(names: TenantNames, access: Access) -> dict[str, str]:
    """Permissions of a tenant's user: its own exchanges, and reply queues under its own name."""
    replies = f"{_escaped(names.reply(''))}"
    commands = _escaped(names.commands)
    written = f"{commands}\\.read" if access == "read" else f"{commands}(\\.bulk)?"
    return {
        "configure": f"^{replies}",
        "write": f"^({written}|{replies}.*)$",
        "read": f"^({_escaped(names.replies)}|{replies}.*)$",
    }


def _escaped(name: str) -> str:
    # A prefix and a tenant consist of letters, digits and - _ . alone.
    return name.replace(".", "\\.")


def password(user: User, place: str, directory: Path) -> str | None:
    """The password of a user's file; None without a file. Raises ConfigurationError, which names `place`."""
    if user.password_file is None:
        return None
    try:
        found = (directory / user.password_file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigurationError(f"{place} password_file: {user.password_file!r} cannot be read: {reason}") from None
    if not found:
        raise ConfigurationError(f"{place} password_file: {user.password_file!r} is empty")
    return found


def has_password(known: Mapping[str, Any], given: str) -> bool | None:
    """Return whether the password is the user's, None where the hash says nothing."""
    digest = _HASHES.get(str(known.get("hashing_algorithm")))
    try:
        stored = base64.b64decode(str(known.get("password_hash", "")), validate=True)
    except ValueError:
        return None
    if digest is None or len(stored) <= _SALT_BYTES:
        return None if digest is None else False
    salt = stored[:_SALT_BYTES]
    return digest(salt + given.encode()).digest() == stored[_SALT_BYTES:]


def check_ordinary(known: Mapping[str, Any], place: str) -> None:
    """Raise ConfigurationError for a user whose tags give it more than a tenant may have."""
    tags = known.get("tags", [])
    given = set(cast("list[str]", tags) if isinstance(tags, list) else re.split(r"[,\s]+", str(tags)))
    if powerful := sorted(given & _POWERFUL):
        raise ConfigurationError(
            f"{place}: the user has the tag {', '.join(powerful)}, which no permission limits; expected a user without"
        )
