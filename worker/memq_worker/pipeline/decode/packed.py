"""Lists of numbers packed as little-endian bytes."""

import struct
from functools import lru_cache

from memq_schemas.vectors import MAX_DIMENSIONS


@lru_cache(maxsize=256)
def packer(size: int, kind: str) -> struct.Struct:
    """Return the packer of `size` numbers, of kind "f" (float32) or "I" (uint32). Raises ValueError for too many."""
    if size > MAX_DIMENSIONS:
        raise ValueError(f"{size} numbers, at most {MAX_DIMENSIONS} are possible")
    return struct.Struct(f"<{size}{kind}")
