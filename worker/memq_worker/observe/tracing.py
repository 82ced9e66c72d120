import logging
from typing import cast

from memq_schemas import Names
from memq_worker.pipeline.store import Store
from memq_worker.pipeline.tracing import UNTRACED, Tracing

logger = logging.getLogger(__name__)


def traced(store: Store, url: str, names: Names) -> tuple[Store, Tracing]:
    """The store and the tracing to work with: as they are unless OpenTelemetry is installed and set up."""
    try:
        from memq_worker.observe.traces import TracedStore, Traces, identify, provided
    except ImportError:
        return store, UNTRACED
    if not provided():
        return store, UNTRACED
    for handler in logging.getLogger().handlers:
        handler.addFilter(identify)
    logger.info("OpenTelemetry tracing enabled")
    return cast("Store", TracedStore(store, url)), Traces(names)
