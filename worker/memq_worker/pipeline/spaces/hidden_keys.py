"""Payload keys that memq writes beside those of a tenant. A tenant neither sets, filters by nor sees them."""

import re
from collections.abc import Iterable
from typing import Any

from memq_schemas import ErrorCode
from memq_schemas.points import VERSION_KEY
from memq_worker.errors import MessageError

TENANT_KEY = "_tenant"
ID_KEY = "_id"
HIDDEN = frozenset((TENANT_KEY, ID_KEY, VERSION_KEY))

# A path may be quoted, or go on below the key.
_PATH = re.compile(rf'"?({"|".join(sorted(HIDDEN))})"?(\.|\[|\Z)')


def hides(path: str) -> bool:
    """Return True if the path reads a hidden key."""
    return _PATH.match(path) is not None


def check_path(path: str, where: str) -> None:
    """Raise MessageError if the path reads a hidden key. where: the field that the path is in."""
    if hides(path):
        raise MessageError(ErrorCode.INVALID, f"{where}: {_reason(path)}", stage="validate")


def check_keys(payload: Iterable[str], where: str) -> None:
    """Raise MessageError if a payload has a hidden key. where: the field that the payload is in."""
    if not HIDDEN.isdisjoint(payload):
        key = next(key for key in payload if key in HIDDEN)
        raise MessageError(ErrorCode.INVALID_PAYLOAD, f"{where}: {_reason(key)}", stage="validate")


def _reason(path: str) -> str:
    key = next(key for key in HIDDEN if key in path)
    return f"the key {key!r} is memq's own"


def visible(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload without its hidden keys."""
    return payload if HIDDEN.isdisjoint(payload) else {k: v for k, v in payload.items() if k not in HIDDEN}
