"""Point ids of a tenant in a collection that tenants share."""

import hashlib
import uuid

from memq_schemas.ids import NAMESPACE
from memq_worker.pipeline.store import Id

_I64 = 2**63


class Ids:
    """Maps the ids of one tenant to UUIDv5, so that equal ids of two tenants are two points."""

    def __init__(self, tenant: str) -> None:
        self._hash = hashlib.sha1(uuid.uuid5(NAMESPACE, f"tenant\x1f{tenant}").bytes, usedforsecurity=False)

    def stored(self, point: Id) -> str:
        """Return the id under which a point is stored."""
        # As uuid.uuid5, at a third of its cost: this is on the path of every point.
        hashed = self._hash.copy()
        hashed.update(str(point).encode())
        text = hashed.hexdigest()
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def stored_id(point: Id) -> Id:
    """Return an id as a payload value: integers beyond 63 bits, which a payload cannot hold, as text."""
    return str(point) if isinstance(point, int) and point >= _I64 else point


def original(value: object) -> Id | None:
    """Return the id of a payload value that `kept` made; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if isinstance(value, str) and value.isdecimal() else value
