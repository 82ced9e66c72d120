"""The envelope of a message: one value from the socket it is read from to the socket it is written to."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from memq_schemas.headers import SENT

# The last second of year 9999. A larger timestamp is of another unit, or of nothing.
_LAST_SECOND = 253_402_300_799


class NoHeaders(Mapping[str, Any]):
    """An empty table that, unlike an empty dict, can be part of a cache's key."""

    __slots__ = ()

    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        return default

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    # There is one. A hash of ours would be a call for each look into a cache.
    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return "{}"


NO_HEADERS: Mapping[str, Any] = NoHeaders()


class Properties(NamedTuple):
    """The properties of AMQP 0-9-1, in the order of the standard.

    Text that is not UTF-8 is held with surrogate escapes, and so is written as it was read.
    headers: a mapping that may hold entries nobody can read; they are written as they were read.
    expiration: milliseconds, as text.   timestamp: as sent; epoch seconds are what it should be.
    """

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, Any] = NO_HEADERS
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None

    @property
    def published(self) -> float | None:
        """Time of publishing in epoch seconds, None if unknown: to the millisecond where a producer of memq's says it.

        The header with milliseconds counts if it lies within the second of the timestamp.
        """
        stamp = self.timestamp
        if stamp is None or stamp > _LAST_SECOND:
            return None
        sent = self.headers.get(SENT)
        return sent / 1000 if type(sent) is int and sent // 1000 == stamp else stamp


class ChangedHeaders(Mapping[str, Any]):
    """Headers of a copy: those of `given` that are not dropped, as they were received, and those `added`."""

    __slots__ = ("added", "given", "names", "prefixes")

    def __init__(
        self,
        given: Mapping[str, Any],
        *,
        names: Collection[str] = (),
        prefixes: tuple[str, ...] = (),
        added: Mapping[str, Any] = NO_HEADERS,
    ) -> None:
        """names, prefixes: of the headers that are dropped."""
        self.given = given
        self.names = names
        self.prefixes = prefixes
        self.added = added

    def keeps(self, name: str) -> bool:
        """Return True if the header of this name is one of `given`, and stays."""
        return name not in self.added and name not in self.names and not name.startswith(self.prefixes)

    def __getitem__(self, name: str) -> Any:
        if name in self.added:
            return self.added[name]
        if self.keeps(name):
            return self.given[name]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        yield from self.added
        yield from (name for name in self.given if self.keeps(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


def legible(text: str) -> str:
    """`text` as UTF-8 can hold it: what was not UTF-8 is spelled as \\udcff and so on."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
