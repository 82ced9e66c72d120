import re
from enum import StrEnum
from functools import lru_cache

# A routing key has at most 255 bytes; "collections.describe." takes 21 of them.
MAX_COLLECTION_BYTES = 200

# Lone surrogates have no UTF-8, and a routing key is UTF-8.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|#\ud800-\udfff]')


class Operation(StrEnum):
    UPSERT = "upsert"
    DELETE = "delete"
    PAYLOAD = "payload"
    QUERY = "query"
    GET = "get"
    COUNT = "count"
    LIST = "collections.list"
    CREATE = "collections.create"
    DESCRIBE = "collections.describe"
    DROP = "collections.delete"

    @property
    def is_write(self) -> bool:
        """Writes are durable, retried, and end in the dead-letter queue when refused; requests are only answered."""
        return self in WRITES


WRITES = frozenset({Operation.UPSERT, Operation.DELETE, Operation.PAYLOAD})
REQUESTS = frozenset(Operation) - WRITES

_BY_WORD = {op.value: op for op in Operation if not op.value.startswith("collections.")}


@lru_cache(maxsize=1024)
def check_collection(name: str) -> str:
    """The name itself. Raises ValueError saying what a collection may be called."""
    if not name or len(name.encode("utf-8", "surrogatepass")) > MAX_COLLECTION_BYTES:
        raise ValueError(f"a collection name has 1 to {MAX_COLLECTION_BYTES} bytes of UTF-8")
    if _FORBIDDEN.search(name) or name in (".", ".."):
        raise ValueError('a collection name has no control characters and none of / \\ : * ? " < > | #')
    return name


def routing_key(operation: Operation, collection: str | None = None) -> str:
    """`<operation>.<collection>`, or `collections.list`. Raises ValueError for an unusable collection name."""
    if operation is Operation.LIST:
        return operation.value
    return f"{operation.value}.{check_collection(collection or '')}"


def parse_routing_key(key: str) -> tuple[Operation, str | None]:
    """Operation and collection; the collection is None for `collections.list`.

    Raises LookupError for an unknown operation and ValueError for an unusable collection name.
    """
    word, _, rest = key.partition(".")
    operation = _BY_WORD.get(word)
    if operation is not None:
        return operation, check_collection(rest)
    if word == "collections":
        action, _, name = rest.partition(".")
        try:
            operation = Operation(f"collections.{action}")
        except ValueError:
            raise LookupError(_EXPECTED) from None
        if operation is Operation.LIST:
            return operation, None
        return operation, check_collection(name)
    raise LookupError(_EXPECTED)


_EXPECTED = "expected a routing key like upsert.<collection>; operations are " + ", ".join(Operation)
