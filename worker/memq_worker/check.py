import asyncio
import shutil
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from memq_schemas import ErrorCode
from memq_worker import access
from memq_worker.amqp.announcement import Missing
from memq_worker.amqp.bindings import unbound
from memq_worker.amqp.declare import declare
from memq_worker.amqp.permissions import check_permissions
from memq_worker.errors import BrokerUnavailable, ConfigurationError, MessageError, WorkerError
from memq_worker.places import require_address, require_directory
from memq_worker.policies import check_policies
from memq_worker.qdrant.client import QdrantStore, open_store
from memq_worker.qdrant.version import check_version
from memq_worker.settings import Settings
from memq_worker.store_commands import Identity, comparison
from memq_worker.tenants.check import check_tenants

_ENGINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    ok: bool
    detail: str


async def declare_topology(settings: Settings) -> None:
    """Makes exchanges, queues and bindings. Raises ConfigurationError or BrokerUnavailable."""
    brokers = access.brokers(settings)
    async with brokers.connect("declare") as connection:
        await declare(connection, settings.topology, "always", settings.amqp_timeout_seconds)


async def findings(settings: Settings, directory: Identity, engine: Callable[[Path], str | None]) -> list[Finding]:
    """Findings of a worker with these settings; each dependency is asked once.

    `directory` returns the identity of the embedded engine's data directory, `engine` the address of the engine that
    runs on it.
    """
    broker = _finding("RabbitMQ", lambda: _broker(settings))
    store = (
        _finding("Qdrant", lambda: _qdrant(settings))
        if settings.qdrant_url
        else _finding("engine", lambda: _engine(settings, engine(settings.data_dir)))
    )
    policies = _finding("policies", lambda: check_policies(settings))
    looks = [_finding("settings", lambda: _machine(settings)), broker, store, policies]
    if settings.tenants_file is not None:
        looks.append(_finding("tenants", lambda: check_tenants(settings)))
    results = [*await asyncio.gather(*looks)]
    if all(finding.ok for finding in results):
        results.append(await _finding("store", lambda: _announced(settings, directory)))
    return results


async def _announced(settings: Settings, directory: Identity) -> str:
    try:
        return await comparison(settings, directory)
    except Missing:
        if settings.declare == "always":
            return "none announced yet; the first worker announces its store"
        raise


async def _finding(what: str, look: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(what, True, await look())
    except (ConfigurationError, BrokerUnavailable) as error:
        return Finding(what, False, str(error))
    except WorkerError as error:
        hint = "is MEMQ_QDRANT_URL the gRPC address, usually port 6334, and MEMQ_QDRANT_API_KEY right?"
        return Finding(what, False, f"{error.message} ({hint})")


async def _broker(settings: Settings) -> str:
    brokers = access.brokers(settings)
    async with brokers.connect("check") as connection:
        # A worker has two at least, and a virtual host may have room for one.
        async with brokers.connect("check publishing"):
            pass
        try:
            await declare(connection, settings.topology, "check", settings.amqp_timeout_seconds)
        except ConfigurationError as error:
            if settings.declare == "always":
                return f"{', '.join(brokers.places)} answers; the topology will be declared at start"
            raise ConfigurationError(str(error)) from error
        await check_permissions(connection, settings.topology, settings.amqp_timeout_seconds)
        missing = await unbound(connection, settings.topology.names, settings.amqp_timeout_seconds)
        if missing and settings.declare != "always":
            raise ConfigurationError(
                f"no queue is bound for {', '.join(missing)}: run memq-worker declare, which adds the bindings of this "
                "release"
            )
    return f"{', '.join(brokers.places)} answers; topology {settings.prefix!r} is there"


async def _machine(settings: Settings) -> str:
    if settings.metrics_port:
        # Not the port: a worker that runs already has it.
        require_address("MEMQ_METRICS_HOST", settings.metrics_host, 0)
    return "valid"


async def _qdrant(settings: Settings) -> str:
    opening = open_store(
        settings.qdrant_url or "",
        access.api_key(settings),
        settings.amqp_timeout_seconds,
        security=access.security(settings),
    )
    async with opening as store:
        version = await store.version()
        check_version(version)
        collections = await store.list_collections(settings.amqp_timeout_seconds)
        await _write_nothing(store, collections, settings.amqp_timeout_seconds)
    return f"version {version}, {len(collections)} collections"


async def _write_nothing(store: QdrantStore, collections: list[str], timeout: float) -> None:
    """Raise ConfigurationError if the API key may not write. Deletes a point, or a collection, that does not exist."""
    nobody = str(uuid.uuid4())
    try:
        if collections:
            await store.delete(collections[0], [nobody], None)
        else:
            await store.drop_collection(f"memq-check-{nobody}", timeout)
    except WorkerError as error:
        if error.code is ErrorCode.FORBIDDEN:
            where = f"collection {collections[0]!r}" if collections else "collections"
            raise ConfigurationError(
                f"the API key in MEMQ_QDRANT_API_KEY may not write to {where}: give one with write access"
            ) from error
        if not isinstance(error, MessageError):
            raise


async def _engine(settings: Settings, address: str | None) -> str:
    if find_spec("qdrant_edge") is None:
        raise ConfigurationError(
            "the extra 'embedded' is not installed: pip install 'memq[embedded]', or set MEMQ_QDRANT_URL"
        )
    place = settings.data_dir.absolute()
    if address is not None:
        # Its health alone may answer while collections do not.
        async with open_store(f"http://{address}", None, _ENGINE_SECONDS) as store:
            try:
                collections = await store.list_collections(_ENGINE_SECONDS)
            except WorkerError as error:
                raise ConfigurationError(
                    f"the engine at {address}, which runs on {place}, does not answer within {_ENGINE_SECONDS:g} s: "
                    f"{error.message}; restart its pool if it hangs"
                ) from error
        return f"embedded, runs on {place} at {address}, {len(collections)} collections"
    nearest = require_directory(place)
    listen = urlsplit(f"//{settings.embedded_listen}")
    require_address("MEMQ_EMBEDDED_LISTEN", listen.hostname or "", listen.port or 0)
    free = shutil.disk_usage(nearest).free // 2**20
    return f"embedded, {place} {'exists' if place.exists() else 'will be created'}, {free} MiB free"
