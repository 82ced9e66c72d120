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
    VECTORS = "vectors"
    QUERY = "query"
    QUERIES = "queries"
    SCROLL = "scroll"
    FACET = "facet"
    GET = "get"
    COUNT = "count"
    LIST = "collections.list"
    CREATE = "collections.create"
    UPDATE = "collections.update"
    DESCRIBE = "collections.describe"
    DROP = "collections.delete"
    CREATE_INDEX = "index.create"
    DELETE_INDEX = "index.delete"
    CREATE_ALIAS = "alias.create"
    SWITCH_ALIAS = "alias.switch"
    DELETE_ALIAS = "alias.delete"
    ALIASES = "alias.list"
    LIMITS = "limits"

    @property
    def is_write(self) -> bool:
        """Writes are durable, retried, and end in the dead-letter queue when refused; requests are only answered."""
        return self in WRITES


WRITES = frozenset({Operation.UPSERT, Operation.DELETE, Operation.PAYLOAD, Operation.VECTORS})
REQUESTS = frozenset(Operation) - WRITES

# Requests that change nothing.
READS = frozenset(
    {
        Operation.QUERY,
        Operation.QUERIES,
        Operation.SCROLL,
        Operation.FACET,
        Operation.GET,
        Operation.COUNT,
        Operation.LIST,
        Operation.DESCRIBE,
        Operation.ALIASES,
        Operation.LIMITS,
    }
)

# Operations that are about no one collection.
UNNAMED = frozenset({Operation.LIST, Operation.ALIASES, Operation.LIMITS})

_BY_WORD = {op.value: op for op in Operation if "." not in op.value}
_FAMILIES = {op.value.partition(".")[0] for op in Operation if "." in op.value}


@lru_cache(maxsize=1024)
def check_collection(name: str) -> str:
    """The name itself. Raises ValueError saying what a collection may be called."""
    if not name or len(name.encode("utf-8", "surrogatepass")) > MAX_COLLECTION_BYTES:
        raise ValueError(f"a collection name has 1 to {MAX_COLLECTION_BYTES} bytes of UTF-8")
    if _FORBIDDEN.search(name) or name in (".", ".."):
        raise ValueError('a collection name has no control characters and none of / \\ : * ? " < > | #')
    return name


@lru_cache(maxsize=1024)
def routing_key(operation: Operation, collection: str | None = None) -> str:
    """`<operation>.<collection>`, or the operation alone. Raises ValueError for an unusable collection name."""
    if operation in UNNAMED:
        return operation.value
    return f"{operation.value}.{check_collection(collection or '')}"


@lru_cache(maxsize=1024)
def parse_routing_key(key: str) -> tuple[Operation, str | None]:
    """Operation and collection; the collection is None for operations without one, such as `collections.list`.

    Raises LookupError for an unknown operation and ValueError for an unusable collection name.
    """
    word, _, rest = key.partition(".")
    operation = _BY_WORD.get(word)
    if operation is not None:
        return operation, None if operation in UNNAMED else check_collection(rest)
    if word in _FAMILIES:
        action, _, name = rest.partition(".")
        try:
            operation = Operation(f"{word}.{action}")
        except ValueError:
            raise LookupError(_EXPECTED) from None
        if operation in UNNAMED:
            return operation, None
        return operation, check_collection(name)
    raise LookupError(_EXPECTED)


_EXPECTED = "expected a routing key like upsert.<collection>; operations are " + ", ".join(Operation)
