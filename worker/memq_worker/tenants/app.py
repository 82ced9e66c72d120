"""The command `memq-worker tenants`."""

from collections.abc import Callable
from pathlib import Path

import typer

from memq_worker.flags import with_settings
from memq_worker.settings import Settings

Engine = Callable[[Path], str | None]

_ADOPT = "Give a new tenant the collections whose names begin with its own."


def tenants_app(engine: Engine) -> typer.Typer:
    """engine: returns the address of the engine that runs on a data directory."""
    app = typer.Typer(
        help="Show and apply the tenants file: who exists on the broker, with which rights. Uses the management API.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    def plan(settings: Settings, flags: dict[str, str], adopt: bool) -> int:
        """Show what apply would change on the broker."""
        from memq_worker.tenants import commands

        return commands.plan(settings, engine, adopt)

    def apply(settings: Settings, flags: dict[str, str], adopt: bool) -> int:
        """Bring users, permissions, exchanges, queues and bindings to what the file says. Can be repeated."""
        from memq_worker.tenants import commands

        return commands.apply(settings, engine, adopt)

    def list_(settings: Settings, flags: dict[str, str]) -> int:
        """List the tenants of the file and of the broker."""
        from memq_worker.tenants import commands

        return commands.list_(settings)

    def show(settings: Settings, flags: dict[str, str], name: str) -> int:
        """Show storage, limits, users, exchanges and queues of one tenant; 1 if there is none of this name."""
        from memq_worker.tenants import commands

        return commands.show(settings, name)

    def remove(settings: Settings, flags: dict[str, str], name: str, yes: bool) -> int:
        """Delete a tenant that is no longer in the file: users, exchanges, messages, points. Prints a receipt."""
        from memq_worker.tenants import commands

        return commands.remove(settings, engine, name, yes)

    for command in (plan, apply):
        app.command(command.__name__)(with_settings(command, adopt=_ADOPT))
    app.command("list")(with_settings(list_))
    app.command("show")(with_settings(show, "name"))
    app.command("remove")(with_settings(remove, "name", yes="Do not ask."))
    return app
