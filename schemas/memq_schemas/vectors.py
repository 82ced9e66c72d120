from typing import Annotated, Any

import numpy as np
import pybase64
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, Tag
from pydantic.config import JsonDict

from memq_schemas.limits import MAX_VECTOR_NAME
from memq_schemas.model import by_type

MAX_DIMENSIONS = 65_536  # Qdrant's own limit

# Whole float32 numbers only: three take 16 characters, one that is left over 6 and two 11.
BASE64_PATTERN = "^([A-Za-z0-9+/]{16})*([A-Za-z0-9+/]{6}==|[A-Za-z0-9+/]{11}=)?$"

BASE64_SCHEMA: JsonDict = {"contentEncoding": "base64", "minLength": 8, "pattern": BASE64_PATTERN}

Numbers = Annotated[
    list[float],
    Field(fail_fast=True, min_length=1, max_length=MAX_DIMENSIONS, description="the vector as numbers, all finite"),
]
Base64 = Annotated[
    str,
    Field(
        min_length=4,
        description="the vector as base64 (RFC 4648, padded) of little-endian float32: a third of the size",
        json_schema_extra=BASE64_SCHEMA,
    ),
]
DenseVector = Annotated[
    Annotated[Numbers, Tag("(numbers)")] | Annotated[Base64, Tag("(base64)")],
    by_type("a list of numbers, or base64 text", {list: "(numbers)", str: "(base64)"}),
]


def check_name(name: str) -> str:
    """Return the name of a vector. Raises ValueError for one that is too long."""
    if len(name.encode("utf-8", "surrogatepass")) > MAX_VECTOR_NAME:
        raise ValueError(f"a vector's name has at most {MAX_VECTOR_NAME} bytes of UTF-8")
    return name


VectorName = Annotated[str, AfterValidator(check_name), Field(json_schema_extra={"maxLength": MAX_VECTOR_NAME})]


FloatArray = NDArray[np.float32]


def to_numbers(vector: Any) -> Any:
    """Return a vector as it is on the wire: an array as lists of numbers."""
    return vector.tolist() if isinstance(vector, np.ndarray) else vector


def to_base64(vector: Any) -> str:
    """The wire form of one vector: anything numpy can read as a flat array of float32."""
    return pybase64.b64encode(np.ascontiguousarray(vector, dtype="<f4").tobytes()).decode("ascii")


def float32_bytes(text: str) -> bytes:
    """Little-endian float32 bytes of a base64 vector. Raises ValueError, which never quotes the input."""
    try:
        raw = pybase64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if not raw or len(raw) % 4:
        base64_bytes(text, "", "float32")
        raise ValueError("0 bytes after base64: expected a multiple of 4, one float32 each")
    return raw


def base64_bytes(text: str, field: str, kind: str) -> bytes:
    """Bytes of base64 text of 4-byte numbers. Raises ValueError, which names the field and never quotes the input."""
    place = f"{field}: " if field else ""
    try:
        raw = pybase64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one; so is what non-ASCII text raises
        raise ValueError(f"{place}not base64: expected padded base64 of little-endian {kind}") from None
    if len(raw) % 4:
        raise ValueError(f"{place}{len(raw)} bytes after base64: expected a multiple of 4, one {kind} each")
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
    require_finite(array)
    return array


def require_finite(array: FloatArray) -> None:
    """Raises ValueError for numbers that float32 cannot hold."""
    if not np.isfinite(array).all():
        raise ValueError("not finite: NaN, infinite or too large for float32")
