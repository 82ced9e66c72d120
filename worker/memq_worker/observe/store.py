"""The store with every call counted and timed."""

from functools import partial
from typing import Any, cast

from memq_schemas import Operation
from memq_worker.observe.metrics import Metrics
from memq_worker.pipeline.store import Store

_CALLS = {
    "contract": "contract",
    "upsert": "upsert",
    "delete": "delete",
    "delete_older": "delete",
    "update_vectors": "vectors",
    "delete_vectors": "vectors",
    "set_payload": "payload",
    "query": "query",
    "queries": "query",
    "get": "get",
    "count": "count",
    "list_collections": "collections",
    "create_collection": "collections",
    "describe_collection": "collections",
    "drop_collection": "collections",
}


def metered(store: Store, metrics: Metrics) -> Store:
    """Return a store around another, with every call counted and timed.

    Its methods are no functions: what a call more costs would be half of what it costs to count a message.
    """
    return cast("Store", _MeteredStore(store, metrics))


class _MeteredStore:
    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._timed = metrics.timed
        for method, call in _CALLS.items():
            setattr(self, method, partial(metrics.timed, call, getattr(store, method)))

    def request(self, operation: Operation, *arguments: Any) -> Any:
        return self._timed(operation.value.partition(".")[0], self._store.request, operation, *arguments)
