from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from memq.changes import PointRow
    from memq_schemas.vectors import FloatArray

POOL = 512
USERS = 16
KINDS = ("note", "fact", "event", "task")


class Points:
    """Random directions of length 1, and payloads to filter by.

    keys: how many different ids there are. Ids repeat, so that what runs for days does not fill the store.
    """

    def __init__(self, size: int, keys: int, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        vectors = np.random.default_rng(seed).standard_normal((POOL, size), dtype=np.float32)
        self._vectors: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self._keys = keys
        self.size = size

    def vector(self) -> FloatArray:
        return self._vectors[self._random.randrange(POOL)]

    def ids(self, count: int) -> list[int]:
        """Different ones, fewer than `count` where there are not as many."""
        return self._random.sample(range(self._keys), min(count, self._keys))

    def rows(self, count: int) -> list[PointRow]:
        return [{"id": id_, "vector": self.vector(), "payload": self.payload()} for id_ in self.ids(count)]

    def payload(self) -> dict[str, Any]:
        user = f"u{self._random.randrange(USERS):02}"
        return {"user": user, "kind": self._random.choice(KINDS), "text": f"made up for {user}"}

    def filter(self) -> dict[str, Any]:
        """Points of one user."""
        return {"must": [{"key": "user", "match": {"value": f"u{self._random.randrange(USERS):02}"}}]}
