import uuid
from binascii import unhexlify
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, cast

import numpy as np
from pydantic import AfterValidator, Field, Tag, TypeAdapter, WithJsonSchema

from memq_schemas.json_values.decimals import decimal_text
from memq_schemas.json_values.times import datetime64_text, datetime_text, utc
from memq_schemas.model import by_type

MAX_ID = 2**64 - 1

# The namespace of memq's derived ids. Changing it would give every document a new point.
NAMESPACE = uuid.UUID("8f0e6a52-1c0b-5d8e-9a57-3b8f4d2c6e10")


_HEX = "[0-9A-Fa-f]"
UUID_PATTERN = f"^{_HEX}{{32}}$|^{_HEX}{{8}}(-{_HEX}{{4}}){{3}}-{_HEX}{{12}}$"


def canonical_uuid(value: str) -> str:
    """The id as Qdrant returns it: lower case, with dashes. Raises ValueError for anything that is not a UUID."""
    dashed = len(value) == 36 and value[8] == value[13] == value[18] == value[23] == "-"
    digits = value.replace("-", "") if dashed else value
    try:
        # Not uuid.UUID, nor a pattern: this is on the path of every point.
        if len(digits) != 32 or len(unhexlify(digits)) != 16:
            raise ValueError
    except ValueError:
        raise ValueError("id: a string id has to be a UUID; derive one from any key with memq.point_id") from None
    if dashed:
        return value.lower()
    text = digits.lower()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


# A boolean is an integer to Python, and no arm of this union.
_KINDS: dict[type, str] = {bool: "(none)", int: "(integer)", str: "(uuid)"}

PointId = Annotated[
    Annotated[int, Field(ge=0, le=MAX_ID, description="unsigned 64-bit integer"), Tag("(integer)")]
    | Annotated[
        str,
        AfterValidator(canonical_uuid),
        Field(description="UUID, with dashes or as 32 hexadecimal digits", json_schema_extra={"pattern": UUID_PATTERN}),
        Tag("(uuid)"),
    ],
    by_type("an unsigned 64-bit integer or a UUID", _KINDS),
]

# An id in a worker's reply. It is canonical, and to check it again would be most of the time that a hit takes.
StoredId = Annotated[int | str, WithJsonSchema(TypeAdapter(PointId).json_schema())]


def point_id(*key: Any) -> str:
    """A UUIDv5 (RFC 4122) of the key's parts, so that publishing the same document twice writes one point.

    Parts are joined by their text with a unit separator, which keeps ("a", "bc") and ("ab", "c") apart. The same value
    has the same text from every source: a whole number has no point (42.0 is 42), an instant is RFC 3339 in UTC.
    Raises ValueError without parts.
    """
    if not key:
        raise ValueError("point_id: at least one part is needed")
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(map(_key_text, key))))


def _key_text(part: Any) -> str:
    if isinstance(part, str):
        return str(part)
    if isinstance(part, np.datetime64):
        return str(datetime64_text(part))
    if isinstance(part, np.generic):
        part = cast("Any", part).item()
    if isinstance(part, float) and part.is_integer():
        return str(int(part))
    if isinstance(part, Decimal) and part.is_finite():
        return _decimal_text(part)
    if isinstance(part, datetime):
        return datetime_text(utc(part))
    return str(part)


def _decimal_text(part: Decimal) -> str:
    if part == part.to_integral_value():
        return str(int(part))
    number = float(part)
    return repr(number) if Decimal(repr(number)) == part else decimal_text(part)
