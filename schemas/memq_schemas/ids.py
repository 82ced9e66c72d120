import uuid
from typing import Annotated, Any

from pydantic import AfterValidator, Field

MAX_ID = 2**64 - 1

# The namespace of memq's derived ids. Changing it would give every document a new point.
NAMESPACE = uuid.UUID("8f0e6a52-1c0b-5d8e-9a57-3b8f4d2c6e10")


def canonical_uuid(value: str) -> str:
    """The id as Qdrant returns it: lower case, with dashes. Raises ValueError for anything that is not a UUID."""
    # uuid.UUID also takes "{…}" and "urn:uuid:…", which Qdrant refuses.
    if len(value) not in (32, 36):
        raise ValueError("id: a string id has to be a UUID; derive one from any key with memq.point_id")
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ValueError("id: a string id has to be a UUID; derive one from any key with memq.point_id") from None


PointId = (
    Annotated[int, Field(ge=0, le=MAX_ID, description="unsigned 64-bit integer")]
    | Annotated[
        str,
        AfterValidator(canonical_uuid),
        Field(description="UUID", json_schema_extra={"format": "uuid"}),
    ]
)


def point_id(*key: Any) -> str:
    """A UUIDv5 (RFC 4122) of the key's parts, so that publishing the same document twice writes one point.

    Parts are joined by their text with a unit separator, which keeps ("a", "bc") and ("ab", "c") apart.
    Raises ValueError without parts.
    """
    if not key:
        raise ValueError("point_id: at least one part is needed")
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(str(part) for part in key)))
