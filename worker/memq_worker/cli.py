import asyncio
import logging
import os
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from memq_schemas.variables import unknown
from memq_worker import garbage
from memq_worker.environment import load
from memq_worker.errors import ConfigurationError
from memq_worker.flags import EXIT_FAILED, fail, option, with_settings
from memq_worker.notify import notified
from memq_worker.observe import exception_hooks, logs
from memq_worker.observe.healthcheck import ask
from memq_worker.places import require_directory
from memq_worker.settings import Settings
from memq_worker.tenants.app import tenants_app

logger = logging.getLogger(__name__)

app = typer.Typer(
    name="memq-worker",
    help="Deliver vectors and questions from RabbitMQ to Qdrant.",
    epilog="Every option can also be given as its MEMQ_ variable. Exit codes: 0 stopped cleanly, 1 failed, 2 settings.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

store = typer.Typer(
    help="Show or change which store the workers of a prefix write to.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(store, name="store")


def _log(settings: Settings, worker: str) -> None:
    logs.configure(
        settings.log_level,
        settings.log_format,
        worker,
        pooled=settings.parent_pid is not None,
        repeats=settings.log_repeats,
        repeats_level=settings.log_repeats_level,
    )
    exception_hooks.log_uncaught()
    if settings.parent_pid is None and (names := unknown(os.environ)):
        logger.warning("unknown variables ignored", extra={"variables": names})
    if settings.parent_pid is None:
        # Not at the top: it imports the libraries of both.
        from memq_worker.access import warn

        warn(settings)


def run(settings: Settings, flags: dict[str, str]) -> int:
    """Take deliveries until SIGTERM or SIGINT; a second signal stops at once.

    Without MEMQ_QDRANT_URL the embedded engine is started as well, and with --processes several workers share the
    queues.
    """
    _log(settings, settings.worker_name)
    if not settings.qdrant_url:
        require_directory(settings.data_dir)
    # Not at the top: the process that starts others needs neither pipeline nor store. And before systemd hears that
    # all is ready: until its program runs, a process is ended by a signal at once.
    if settings.qdrant_url and settings.processes == 1:
        from memq_worker.service import serve

        garbage.settle_in()
        work = partial(serve, settings)
    else:
        from memq_worker.pool import supervise

        work = partial(supervise, settings, flags)
    with notified(settings):
        return asyncio.run(work()) or 0


def check(settings: Settings, flags: dict[str, str]) -> int:
    """Verify settings, RabbitMQ and Qdrant; exit 1 if a worker could not run with them."""
    from memq_worker.check import findings

    console = Console(highlight=False)
    found = asyncio.run(findings(settings, _directory_identity, _engine_address))
    for finding in found:
        mark = "[green]ok  [/green]" if finding.ok else "[red]FAIL[/red]"
        console.print(f"{mark} {finding.what}: {escape(finding.detail)}", soft_wrap=True)
    return 0 if all(finding.ok for finding in found) else EXIT_FAILED


def declare(settings: Settings, flags: dict[str, str]) -> int:
    """Declare exchanges, queues and bindings, as a user with configure permission."""
    from memq_worker.check import declare_topology

    asyncio.run(declare_topology(settings))
    layout = settings.topology
    typer.echo(f"declared {len(layout.exchanges)} exchanges and {len(layout.queues)} queues under {settings.prefix!r}")
    return 0


def embedded(settings: Settings, flags: dict[str, str]) -> int:
    """Serve MEMQ_DATA_DIR over Qdrant's gRPC API on MEMQ_EMBEDDED_LISTEN, for any number of workers."""
    try:
        from memq_engine import EngineOptions
        from memq_engine import run as run_engine
    except ImportError as error:
        raise ConfigurationError(
            f"the embedded engine is not installed ({error.name}): pip install 'memq[embedded]', "
            "or set MEMQ_QDRANT_URL to use a Qdrant server"
        ) from error
    _log(settings, "embedded")
    options = EngineOptions(data_dir=settings.data_dir, listen=settings.embedded_listen, parent_pid=settings.parent_pid)
    return asyncio.run(run_engine(options))


def _directory_identity(data_dir: Path) -> str | None:
    """Return the identity of the embedded engine's data directory; None if it has not been used."""
    try:
        from memq_engine.identity import IdentityError, read
    except ImportError:
        return None
    try:
        return read(data_dir)
    except (IdentityError, OSError) as error:
        raise ConfigurationError(f"{data_dir}: {error}") from error


def _engine_address(data_dir: Path) -> str | None:
    """Return the address of the engine that runs on the data directory; None if none does."""
    try:
        from memq_engine.ownership import address_of
    except ImportError:
        return None
    return address_of(data_dir)


def show(settings: Settings, flags: dict[str, str]) -> int:
    """Show the announced store and the one that a worker with these settings would use; 1 if they differ."""
    from memq_worker import store_commands

    return asyncio.run(store_commands.show(settings, _directory_identity))


def adopt(settings: Settings, flags: dict[str, str], yes: bool) -> int:
    """Announce the store of these settings in place of the former one, and report what workers will no longer see."""
    from memq_worker import store_commands

    return asyncio.run(store_commands.adopt(settings, _directory_identity, yes))


def forget(settings: Settings, flags: dict[str, str]) -> int:
    """Remove the announcement. The next worker that connects announces its own store."""
    from memq_worker import store_commands

    return asyncio.run(store_commands.forget(settings))


for _command in (run, check, declare, embedded):
    app.command(_command.__name__)(with_settings(_command))
for _command in (show, forget):
    store.command(_command.__name__)(with_settings(_command))
store.command("adopt")(with_settings(adopt, yes="Do not ask."))
app.add_typer(tenants_app(_engine_address), name="tenants")


@app.command()
def healthcheck(
    ready: Annotated[
        bool,
        typer.Option(
            "--readyz/--livez",
            help="Ask for readiness, or only for liveness: an outage is no reason to restart.",
        ),
    ] = False,
    metrics_host: Annotated[str | None, option("metrics_host")] = None,
    metrics_port: Annotated[str | None, option("metrics_port")] = None,
) -> None:
    """Query the worker or pool on this machine, for a container's health check; exit 1 with the reason if unhealthy."""
    given = {"metrics_host": metrics_host, "metrics_port": metrics_port}
    try:
        settings = load({name: value for name, value in given.items() if value is not None})
    except ConfigurationError as error:
        fail(str(error), EXIT_FAILED)
    well, line = ask(settings.metrics_host, settings.metrics_port, "/readyz" if ready else "/livez")
    typer.echo(line, err=not well)
    raise typer.Exit(0 if well else EXIT_FAILED)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"memq {version('memq')}")
        raise typer.Exit


@app.callback()
def _root(
    show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    app()
