import logging
from typing import cast

from memq_schemas import Names
from memq_worker.pipeline.ports import Tracing
from memq_worker.pipeline.store import Store

logger = logging.getLogger(__name__)


def traced(store: Store, url: str, names: Names) -> tuple[Store, Tracing | None]:
    """Return the store and the tracing to work with: itself and None unless OpenTelemetry is installed and set up."""
    try:
        from memq_worker.observe.traces import TracedStore, Traces, identify, provided
    except ImportError:
        return store, None
    if not provided():
        return store, None
    for handler in logging.getLogger().handlers:
        handler.addFilter(identify)
    logger.info("OpenTelemetry tracing enabled")
    return cast("Store", TracedStore(store, url)), Traces(names)
