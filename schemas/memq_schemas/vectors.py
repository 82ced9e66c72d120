from typing import Annotated, Any

import numpy as np
import pybase64
from numpy.typing import NDArray
from pydantic import Field

MAX_DIMENSIONS = 65_536  # Qdrant's own limit

# Whole float32 numbers only: three take 16 characters, one that is left over 6 and two 11.
BASE64_PATTERN = "^([A-Za-z0-9+/]{16})*([A-Za-z0-9+/]{6}==|[A-Za-z0-9+/]{11}=)?$"

DenseVector = (
    Annotated[
        list[float],
        Field(min_length=1, max_length=MAX_DIMENSIONS, description="the vector as numbers, all finite"),
    ]
    | Annotated[
        str,
        Field(
            min_length=4,
            description="the vector as base64 (RFC 4648, padded) of little-endian float32: a third of the size",
            json_schema_extra={"contentEncoding": "base64", "minLength": 8, "pattern": BASE64_PATTERN},
        ),
    ]
)

Vector = Annotated[
    DenseVector | Annotated[dict[str, DenseVector], Field(min_length=1, description="named vectors")],
    Field(union_mode="left_to_right"),
]

FloatArray = NDArray[np.float32]


def to_base64(vector: Any) -> str:
    """The wire form of one vector: anything numpy can read as a flat array of float32."""
    return pybase64.b64encode(np.ascontiguousarray(vector, dtype="<f4").tobytes()).decode("ascii")


def float32_bytes(text: str) -> bytes:
    """Little-endian float32 bytes of a base64 vector. Raises ValueError, which never quotes the input."""
    try:
        raw = pybase64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one; so is what non-ASCII text raises
        raise ValueError("not base64: expected padded base64 of little-endian float32") from None
    if not raw or len(raw) % 4:
        raise ValueError(f"{len(raw)} bytes after base64: expected a multiple of 4, one float32 each")
    return raw


def to_array(vector: "list[float] | str") -> FloatArray:
    """Shape (dimensions,), float32. Raises ValueError for base64 that is none, and for numbers float32 cannot hold."""
    if isinstance(vector, str):
        array = np.frombuffer(float32_bytes(vector), dtype="<f4")
    else:
        with np.errstate(over="ignore"):
            array = np.array(vector, dtype="<f4")
    if not array.size:
        raise ValueError("empty vector")
    if not np.isfinite(array).all():
        raise ValueError("not finite: NaN, infinite or too large for float32")
    return array
