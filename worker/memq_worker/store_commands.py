"""`memq-worker store show | adopt | forget`: which store the workers of a prefix write to, changed on purpose."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import typer

from memq_worker import access
from memq_worker.amqp.announcement import Announcement, announcement
from memq_worker.amqp.consumers import consumers
from memq_worker.errors import ConfigurationError, WorkerError
from memq_worker.qdrant.client import open_store
from memq_worker.qdrant.features import EXTERNAL
from memq_worker.settings import Settings
from memq_worker.store_identity import Announced, StoreMismatch, compare

_SHOWN = 20  # collections by name
_SECONDS = 5.0  # for a store that may be gone

Identity = Callable[[Path], str | None]


@asynccontextmanager
async def _locked(settings: Settings, purpose: str) -> AsyncGenerator[tuple[Announcement, int]]:
    """The announcement, and how many workers consume writes."""
    names = settings.topology.names
    async with access.brokers(settings).connect(purpose) as connection:
        working = await consumers(connection, names.write, settings.amqp_timeout_seconds)
        async with announcement(connection, names.store, settings.amqp_timeout_seconds) as announced:
            yield announced, working


async def own_identity(settings: Settings, directory: Identity) -> str | None:
    """Return the identity of the store that a worker with these settings would use; None if it does not exist yet.

    Raises WorkerError if a store given by URL does not answer.
    """
    if settings.qdrant_url is None:
        return directory(settings.data_dir)
    async with open_store(
        settings.qdrant_url, access.api_key(settings), _SECONDS, security=access.security(settings)
    ) as store:
        return await store.identity()


async def comparison(settings: Settings, directory: Identity) -> str:
    """Return a sentence about the announced store and the worker's own.

    Raises StoreMismatch if they differ, and what reading either of them raises.
    """
    own = await own_identity(settings, directory)
    async with _locked(settings, "check") as (announced, _):
        body = announced.body
    if body is None:
        return "none announced yet; the first worker announces its store"
    current = Announced.read(body, settings.topology.names.store)
    compare(own, current, settings)
    return f"the announced one: {current.described}"


async def show(settings: Settings, directory: Identity) -> int:
    async with _locked(settings, "store show") as (announced, _):
        body = announced.body
    if body is None:
        typer.echo(f"announced  none under prefix {settings.prefix!r}")
    else:
        current = Announced.read(body, settings.topology.names.store)
        typer.echo(f"announced  {current.described}, by {current.worker} at {current.at}")
    try:
        own = await own_identity(settings, directory)
    except WorkerError as error:
        typer.echo(f"this one   unknown: {error.message}")
        return 1
    mine = Announced.of(own, settings).described if own else f"a new, empty store in {settings.data_dir}"
    typer.echo(f"this one   {mine}")
    if body is not None:
        same = own == Announced.read(body, settings.topology.names.store).store
        typer.echo(f"{'same' if same else 'different'} store")
        return 0 if same else 1
    return 0


async def adopt(settings: Settings, directory: Identity, yes: bool) -> int:
    own = await own_identity(settings, directory)
    if own is None:
        raise ConfigurationError(f"{settings.data_dir}: no store there; start the engine once to create it")
    async with _locked(settings, "store adopt") as (announced, working):
        if working:
            raise ConfigurationError(
                f"{working} workers consume from {settings.topology.names.write!r} and would keep the former store: "
                "stop them first"
            )
        for line in await _unseen(announced.body, own, settings):
            typer.echo(line)
        if not (yes or _approved(own, settings)):
            typer.echo("nothing changed")
            return 1
        await announced.put(Announced.of(own, settings).body())
    typer.echo(f"announced  {Announced.of(own, settings).described}")
    return 0


async def forget(settings: Settings) -> int:
    async with _locked(settings, "store forget") as (announced, _):
        await announced.remove()
    typer.echo("no store is announced; the next worker that connects announces its own")
    return 0


def _approved(own: str, settings: Settings) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigurationError("no terminal to confirm on: add --yes")
    return typer.confirm(f"use {Announced.of(own, settings).described} from now on?")


async def _unseen(body: bytes | None, own: str, settings: Settings) -> list[str]:
    """Lines about what the workers no longer see after a change from the announced store to `own`."""
    if body is None:
        return []
    try:
        current = Announced.read(body, settings.topology.names.store)
        compare(own, current, settings)
    except StoreMismatch:
        return await _contents(Announced.read(body, settings.topology.names.store), settings)
    except ConfigurationError:
        return ["the announcement that is there cannot be read"]
    return []


async def _contents(current: Announced, settings: Settings) -> list[str]:
    key, security = None, None
    if current.store == EXTERNAL:
        key, security = access.api_key(settings), access.security(settings)
    try:
        opening = open_store(current.url, key, _SECONDS, security=security)
        async with asyncio.timeout(_SECONDS), opening as store:
            if await store.identity() != current.store:
                return [f"what {current.described} holds is unknown: another store answers there"]
            names = await store.list_collections(_SECONDS)
            counts = {name: await store.count(name, None, _SECONDS) for name in names[:_SHOWN]}
    except (TimeoutError, WorkerError):
        return [f"what {current.described} holds is unknown: it does not answer"]
    lines = [f"no longer seen: {len(names)} collections of {current.described}"]
    lines += [f"  {name}  {count} points" for name, count in counts.items()]
    return [*lines, f"  and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else lines
