"""`memq-worker tenants plan | apply | list | show | remove`."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from memq_schemas.tenants import TenantNames
from memq_worker import access
from memq_worker.errors import ConfigurationError, WorkerError
from memq_worker.qdrant.client import QdrantStore, open_store
from memq_worker.settings import Settings
from memq_worker.tenants.broker import Broker
from memq_worker.tenants.file import Tenant, TenantsFile, read
from memq_worker.tenants.management import Management
from memq_worker.tenants.plan import Plan, Planner
from memq_worker.tenants.removal import Removal
from memq_worker.tenants.users import permissions

_WIDE = 200

Engine = Callable[[Path], str | None]


def _file(settings: Settings) -> tuple[Path, TenantsFile]:
    if settings.tenants_file is None:
        raise ConfigurationError("MEMQ_TENANTS_FILE: not set; expected the path of the tenants file")
    return settings.tenants_file, read(settings.tenants_file)


@contextmanager
def _broker(settings: Settings) -> Generator[Broker]:
    with closing(Management.of(settings)) as api:
        yield Broker(api, settings.topology.names)


@contextmanager
def _planned(settings: Settings, engine: Engine, adopt: bool) -> Generator[Plan]:
    """The plan, whose steps can be done until the block ends."""
    path, file = _file(settings)
    with _broker(settings) as broker:
        yield _plan(path, file, broker, settings, engine, adopt)


def _plan(path: Path, file: TenantsFile, broker: Broker, settings: Settings, engine: Engine, adopt: bool) -> Plan:
    planned = Planner(file, path.parent, broker, settings.order).plan()
    # With shared storage too: storage may change, and a removal deletes the collections of the tenant's name.
    new = [name for name in file.tenants if name not in broker.tenants]
    if new and not adopt:
        _check_names(new, asyncio.run(_collections(settings, engine)))
    return planned


def _check_names(tenants: list[str], collections: list[str]) -> None:
    """Raise ConfigurationError if a collection that is there would become that of a new tenant."""
    for name in tenants:
        if conflicting := sorted(each for each in collections if each.startswith(f"{name}.")):
            raise ConfigurationError(
                f"[tenants.{name}]: the store has collections whose names begin with the tenant's: "
                f"{', '.join(conflicting[:5])}; choose another name, or transfer them to the tenant with --adopt"
            )


async def _collections(settings: Settings, engine: Engine) -> list[str]:
    """Collections of the store; none where no store has been made yet. Raises ConfigurationError."""
    if settings.qdrant_url is None and not settings.data_dir.exists():
        return []
    try:
        async with _store(settings, engine) as store:
            return await store.list_collections(settings.amqp_timeout_seconds)
    except WorkerError as error:
        raise ConfigurationError(f"the store does not list its collections: {error.message}") from error


def plan(settings: Settings, engine: Engine, adopt: bool) -> int:
    """Print what `apply` would do; 0."""
    with _planned(settings, engine, adopt) as planned:
        _print(planned)
    typer.echo(f"{len(planned.steps)} changes; memq-worker tenants apply makes them" if planned.steps else "no changes")
    return 0


def apply(settings: Settings, engine: Engine, adopt: bool) -> int:
    """Bring the broker to what the file says, step by step; 0."""
    with _planned(settings, engine, adopt) as planned:
        for step in planned.steps:
            step.act()
            typer.echo(f"  {step.text}")
    for note in planned.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{len(planned.steps)} changes made")
    return 0


def _print(planned: Plan) -> None:
    for step in planned.steps:
        typer.echo(f"  {step.text}")
    for note in planned.notes:
        typer.echo(f"note: {note}")


def remove(settings: Settings, engine: Engine, name: str, yes: bool) -> int:
    """Remove a tenant with its messages and points, and print a receipt; 0, or 1 if a person did not confirm."""
    _, file = _file(settings)
    TenantNames(settings.prefix, name)
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise ConfigurationError("no terminal to confirm on: add --yes")
        if not typer.confirm(f"delete tenant {name!r} with its messages and points?"):
            return 1
    asyncio.run(_remove(settings, engine, name, file))
    return 0


async def _remove(settings: Settings, engine: Engine, name: str, file: TenantsFile) -> None:
    async with AsyncExitStack() as stack:
        broker = stack.enter_context(_broker(settings))
        connection = await stack.enter_async_context(access.brokers(settings).connect("tenants remove"))
        store = await stack.enter_async_context(_store(settings, engine))
        removal = Removal(name, file, broker, connection, store, typer.echo)
        await removal.run(settings.amqp_timeout_seconds, settings.store_timeout_seconds)


@asynccontextmanager
async def _store(settings: Settings, engine: Engine) -> AsyncGenerator[QdrantStore]:
    url = settings.qdrant_url or engine(settings.data_dir)
    if url is None:
        raise ConfigurationError(
            f"the engine of {settings.data_dir} is not running: start a worker, or set MEMQ_QDRANT_URL to the store"
        )
    opening = open_store(
        url if "://" in url else f"http://{url}",
        access.api_key(settings),
        settings.store_timeout_seconds,
        security=access.security(settings) if settings.qdrant_url else None,
    )
    async with opening as store:
        yield store


def list_(settings: Settings) -> int:
    """Print a line for each tenant of the file and of the broker; 0."""
    _, file = _file(settings)
    with _broker(settings) as broker:
        _print_list(file, broker)
    return 0


def _print_list(file: TenantsFile, broker: Broker) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("tenant", "storage", "lane", "weight", "limits", "users", "waiting", "broker"):
        table.add_column(heading)
    for name in sorted({*file.tenants, *broker.tenants}):
        tenant = file.tenants.get(name)
        waiting = sum(
            broker.queues[queue].messages
            for queue in TenantNames(broker.names.prefix, name).lanes.values()
            if queue in broker.queues
        )
        there = "applied" if name in broker.tenants else "not applied"
        if tenant is None:
            table.add_row(name, "", "", "", "", "", str(waiting), "not in the file")
            continue
        lane = "own" if tenant.own_lane else "shared"
        users = ", ".join(tenant.users) or "none"
        waits = str(waiting) if tenant.own_lane else ""
        limits = ", ".join(_limits(tenant)) or "none"
        table.add_row(name, tenant.storage, lane, f"{tenant.weight:g}", limits, users, waits, there)
    # A pipe has no width to fit.
    Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE).print(table)
    typer.echo(_generations(file, broker))


def _limits(tenant: Tenant) -> list[str]:
    return [f"{name} {value:,.10g}" for name, value in tenant.limits.model_dump(exclude_none=True).items()]


def _generations(file: TenantsFile, broker: Broker) -> str:
    applied = "none" if broker.applied is None else str(broker.applied.generation)
    return f"generation {file.generation} in the file, {applied} applied"


def show(settings: Settings, name: str) -> int:
    """Print all about one tenant; 0, or 1 if neither file nor broker has it."""
    _, file = _file(settings)
    with _broker(settings) as broker:
        return _show(file, broker, name)


def _show(file: TenantsFile, broker: Broker, name: str) -> int:
    tenant = file.tenants.get(name)
    if tenant is None and name not in broker.tenants:
        typer.echo(f"no tenant {name!r} in the file or on the broker", err=True)
        return 1
    console = Console(highlight=False, soft_wrap=True)
    names = TenantNames(broker.names.prefix, name)
    lines: list[tuple[str, str]] = []
    if tenant is None:
        lines.append(("file", "none; memq-worker tenants remove deletes what the broker and the store have of it"))
    else:
        shared = ", ".join(file.shared_of(name)) if tenant.storage == "shared" else f"{name}.<collection>"
        lines += [("storage", f"{tenant.storage}: {shared}"), ("weight", f"{tenant.weight:g}")]
        lines += [("limit", limit) for limit in _limits(tenant) or ["none"]]
        lines += [_user_line(broker, names, user, declared.access) for user, declared in tenant.users.items()]
    for exchange in names.exchanges:
        lines.append(("exchange", f"{exchange}{'' if exchange in broker.exchanges else ' missing'}"))
    for queue in names.lanes.values():
        if (depth := broker.queues.get(queue)) is not None:
            summary = f"{depth.messages} messages, {depth.bytes} bytes, {depth.consumers} consumers"
            lines.append(("queue", f"{queue} {summary}"))
    for what, text in lines:
        console.print(f"{what:<9} {escape(text)}")
    typer.echo(_generations(file, broker))
    return 0


def _user_line(broker: Broker, names: TenantNames, user: str, access: str) -> tuple[str, str]:
    wanted = permissions(names, "read" if access == "read" else "write")
    granted = broker.permissions.get(user)
    state = "applied" if granted == wanted else "no permissions yet" if granted is None else "other permissions"
    return "user", f"{user} ({access}) {state}"
