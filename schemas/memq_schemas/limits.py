"""Limits on the contents of one body. Every part of memq refuses a body that exceeds one, before it does the work."""

MAX_VALUES = 250_000  # JSON values in a body, or Arrow values in its payload column; numbers of vectors do not count
MAX_NAMED_VECTORS = 100  # of one point, and of one collection
MAX_VECTOR_NAME = 200  # bytes of UTF-8: the store makes file names of them
MAX_KEY = 255  # characters of a payload key or path
MAX_KEYS = 100  # in `with_payload`, and in `unset`
MAX_IDS = 10_000  # of one `get`; a write has the worker's own limit
MAX_FILTER_DEPTH = 16  # a filter inside a filter costs two nested protobuf messages, and protobuf parsers stop at 100
MAX_CONDITIONS = 1_000  # of one filter, at all its levels
MAX_FILTER_VALUES = 10_000  # in `has_id`, `any` and `except` of one filter, together
MAX_RECORD_BATCHES = 1_000  # of one Arrow stream
