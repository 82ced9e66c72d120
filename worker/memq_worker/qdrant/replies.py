"""Conversion of points into a reply, within the reply limit."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from memq_schemas import ErrorCode
from memq_worker.errors import MessageError

# JSON bytes for each byte that Qdrant sends, at most: a float32 in 4 bytes may be written with 24 digits and a comma,
# and a control character of a string as six.
_GROWTH = 6.25
# Qdrant sends at most so many bytes for each byte of JSON: payload entries of one digit have several bytes around them.
_SHRINKAGE = 4
MAX_REPLY_BYTES = 8 * 2**20
_PAGE_BYTES = 2 * 2**20
_FIRST_PAGE = 64


class ReplyLimit:
    """The largest JSON of one reply, in bytes. Points are counted while they are converted, not afterwards."""

    def __init__(self, most: int) -> None:
        self.most = most

    @property
    def receive_bytes(self) -> int:
        """The largest answer of Qdrant that may still fit."""
        return self.most * _SHRINKAGE + 2**20

    def surely_holds(self, answer: Any) -> bool:
        """Return True if the JSON of the answer's points cannot exceed the limit."""
        return int(answer.ByteSize() * _GROWTH) <= self.most

    def none(self, share: int = 1) -> "Converted":
        """No points yet, of a reply that `share` requests have together."""
        return Converted(self.most // share)

    def pages(self, ids: Sequence[Any], made: "Converted") -> Iterable[Sequence[Any]]:
        """Slices of `ids` to ask for, each as large as those converted so far suggest."""
        at = 0
        while at < len(ids):
            count = _FIRST_PAGE if not at else max(1, _PAGE_BYTES * at // max(made.size, 1))
            yield ids[at : at + count]
            at += count


class Converted:
    """Points converted for a reply. `size` is an upper limit of their JSON in bytes."""

    def __init__(self, most: int) -> None:
        self.points: list[dict[str, Any]] = []
        self.size = 0
        self._most = most

    def add(self, answer: Any, points: Iterable[Any], convert: Callable[[Any], dict[str, Any]]) -> None:
        """Raises MessageError."""
        largest = int(answer.ByteSize() * _GROWTH)
        if self.size + largest <= self._most:
            # The ordinary reply: it cannot exceed the limit, so nobody needs to know its size.
            self.points.extend(map(convert, points))
            self.size += largest
            return
        for point in points:
            made = convert(point)
            self.size += len(orjson.dumps(made)) + 1
            if self.size > self._most:
                raise too_large(self._most)
            self.points.append(made)


def too_large(most: int) -> MessageError:
    return MessageError(
        ErrorCode.TOO_LARGE,
        f"reply: more than {most} bytes, the most that this worker sends; ask for fewer points (a smaller limit, fewer "
        "ids, pages with offset) or for less of each (with_vector: false, with_payload: a list of keys)",
        stage="answer",
    )
