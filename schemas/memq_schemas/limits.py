"""Limits on the contents of one body. Every part of memq refuses a body that exceeds one, before it does the work."""

MAX_VALUES = 250_000  # JSON values in a body, or Arrow values in its payload column; numbers of vectors do not count
MIN_VALUES = 100_000  # that a small body may have
BYTES_PER_VALUE = 10  # of a body in between
MAX_CONTAINERS = 50_000  # lists and objects in the payloads of a message, and in a request
MAX_VECTORS = 2**14  # of a JSON message: named vectors, rows of multivectors, and three for each sparse vector
BYTES_PER_VECTOR = 128  # of a larger message, which may have a vector for as many bytes
MAX_NAMED_VECTORS = 100  # of one point, and of one collection
MAX_VECTOR_NAME = 200  # bytes of UTF-8: the store makes file names of them
MAX_KEY = 255  # characters of a payload key or path
MAX_KEYS = 100  # in `with_payload`, and in `unset`
MAX_IDS = 10_000  # of one `get`; a write has the worker's own limit
MAX_FILTER_DEPTH = 16  # a filter inside a filter costs two nested protobuf messages, and protobuf parsers stop at 100
MAX_CONDITIONS = 1_000  # of one filter, at all its levels
MAX_FILTER_VALUES = 10_000  # in `has_id`, `any` and `except` of one filter, together
MAX_QUERIES = 64  # of one `queries`
MAX_RECORD_BATCHES = 1_000  # of one Arrow stream


def max_values(size: int) -> int:
    """Return how many values a body of this many bytes may have."""
    return min(MAX_VALUES, max(MIN_VALUES, size // BYTES_PER_VALUE))


def max_vectors(size: int) -> int:
    """Return how many vectors a JSON body of this many bytes may have."""
    return max(MAX_VECTORS, size // BYTES_PER_VECTOR)
