"""Names of every MEMQ_ environment variable, so that a misspelt one is found instead of ignored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX = "MEMQ_"
EDITS = 2

SHARED = (
    "MEMQ_AMQP_URL",
    "MEMQ_AMQP_URL_FILE",
    "MEMQ_MANAGEMENT_URL",
    "MEMQ_MANAGEMENT_URL_FILE",
    "MEMQ_PREFIX",
    "MEMQ_TRANSPORT",
)
WORKER = (
    "MEMQ_AMQP_TIMEOUT_SECONDS",
    "MEMQ_BATCH_BYTES",
    "MEMQ_BATCH_POINTS",
    "MEMQ_BROKER_TIMESTAMP",
    "MEMQ_BULK_WEIGHT",
    "MEMQ_CONSUMER_TIMEOUT_SECONDS",
    "MEMQ_DATA_DIR",
    "MEMQ_DECLARE",
    "MEMQ_DRAIN_SECONDS",
    "MEMQ_EMBEDDED_LISTEN",
    "MEMQ_FILTER_TIMEOUT_SECONDS",
    "MEMQ_LOG_FORMAT",
    "MEMQ_LOG_LEVEL",
    "MEMQ_LOG_REPEATS",
    "MEMQ_LOG_REPEATS_LEVEL",
    "MEMQ_MAX_ATTEMPTS",
    "MEMQ_MAX_BODY_BYTES",
    "MEMQ_MAX_POINTS",
    "MEMQ_MAX_REPLY_BYTES",
    "MEMQ_METRICS_HOST",
    "MEMQ_METRICS_PORT",
    "MEMQ_ORDER",
    "MEMQ_PARENT_PID",
    "MEMQ_PREFETCH",
    "MEMQ_PREFETCH_BYTES",
    "MEMQ_PROCESSES",
    "MEMQ_MANAGEMENT_URL_FILE",
    "MEMQ_QDRANT_API_KEY",
    "MEMQ_QDRANT_API_KEY_FILE",
    "MEMQ_QDRANT_CAFILE",
    "MEMQ_QDRANT_CERTFILE",
    "MEMQ_QDRANT_KEYFILE",
    "MEMQ_QDRANT_PROXY",
    "MEMQ_QDRANT_URL",
    "MEMQ_REPLY_TO",
    "MEMQ_REPLY_TTL_SECONDS",
    "MEMQ_REPLY_TO",
    "MEMQ_REQUEST_PREFETCH",
    "MEMQ_SLOT",
    "MEMQ_SLOT_DESCRIPTOR",
    "MEMQ_STORE_TIMEOUT_SECONDS",
    "MEMQ_STORE_WRITES",
    "MEMQ_TENANTS_FILE",
    "MEMQ_WORKER_NAME",
    "MEMQ_WRITES_IN_FLIGHT",
)
COMMAND = ("MEMQ_DEBUG", "MEMQ_METRICS_URLS", "MEMQ_TENANT")
SCRIPTS = (
    "MEMQ_BROKERS",
    "MEMQ_BROKER_ROOT",
    "MEMQ_STACK",
    "MEMQ_TEST_PROCESSES",
)
COMPOSE = (
    "MEMQ_ALERTMANAGER_PORT",
    "MEMQ_AMQP_PORT",
    "MEMQ_GRAFANA_PORT",
    "MEMQ_MANAGEMENT_PORT",
    "MEMQ_PROMETHEUS_PORT",
    "MEMQ_QDRANT_GRPC_PORT",
    "MEMQ_QDRANT_REST_PORT",
    "MEMQ_TRAFFIC_RATE",
)
KNOWN = frozenset((*SHARED, *WORKER, *COMMAND, *SCRIPTS, *COMPOSE))

# Kubernetes and Docker links describe each service by variables: of one called memq, MEMQ_SERVICE_HOST, MEMQ_PORT …
_SERVICE = re.compile(r"MEMQ_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_LINK = re.compile(r"(tcp|udp|sctp)://")


def misspelt(environ: Mapping[str, str], known: Iterable[str] = KNOWN) -> dict[str, str]:
    """Unknown MEMQ_ variables that are within two edits of a known one, and the known one."""
    names = sorted(known)
    found: dict[str, str] = {}
    for name in unknown(environ, names):
        edits, meant = min((_edits(name, each), each) for each in names)
        if edits <= EDITS:
            found[name] = meant
    return found


def unknown(environ: Mapping[str, str], known: Iterable[str] = KNOWN) -> list[str]:
    """MEMQ_ variables that nothing of memq reads and that Kubernetes does not set."""
    names = set(known)
    return sorted(
        name
        for name, value in environ.items()
        if name.startswith(PREFIX) and name not in names and not _of_a_service(name, value)
    )


def _of_a_service(name: str, value: str) -> bool:
    return bool(_SERVICE.fullmatch(name) or (name.endswith("_PORT") and _LINK.match(value)))


def _edits(left: str, right: str) -> int:
    """Levenshtein distance with transpositions of neighbours as one edit."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, one in enumerate(left, 1):
        following = [i]
        for j, other in enumerate(right, 1):
            cost = min(row[j] + 1, following[j - 1] + 1, row[j - 1] + (one != other))
            if i > 1 and j > 1 and one == right[j - 2] and left[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            following.append(cost)
        before, row = row, following
    return row[-1]
