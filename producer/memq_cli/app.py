"""Command line of `memq`. The module of a command is imported when it is run, or listed in a help text."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from memq_cli.utf8 import required

EPILOG = """\b
Exit codes:
  0    done
  1    refused by the worker or the broker, or not reachable
  2    wrong usage, or bad input
  3    no answer or no confirm in time
  4    a threshold of `memq load` was crossed
  130  interrupted

\b
Environment:
  MEMQ_AMQP_URL       address of RabbitMQ, like amqp://user:password@host:5672/vhost
  MEMQ_AMQP_URL_FILE  file that contains the address
  MEMQ_TRANSPORT      fast: memq's AMQP frame codec; stock: aiormq's, at several times the CPU
  NO_COLOR            plain text
"""

# Module and function, or group, of each command; in the order of the help text.
COMMANDS = {
    "upsert": "upsert.upsert",
    "scroll": "scroll.scroll",
    "query": "reads.query",
    "get": "reads.get",
    "count": "reads.count",
    "facet": "reads.facet",
    "delete": "changes.delete",
    "set-payload": "changes.set_payload",
    "top": "top.top",
    "traffic": "traffic.traffic",
    "limits": "limits.limits",
    "load": "load.load",
    "collections": "collections.app",
    "index": "indexes.app",
    "alias": "aliases.app",
    "dead": "dead.app",
}


class Commands(TyperGroup):
    """Group of the commands, each imported on first use."""

    def __init__(self, **settings: Any) -> None:
        settings["commands"] = dict.fromkeys(COMMANDS)
        super().__init__(**settings)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        commands: dict[str, Any] = {**self.commands}
        if cmd_name in commands and commands[cmd_name] is None:
            self.commands[cmd_name] = _load(cmd_name)
        return super().get_command(ctx, cmd_name)


def _load(name: str) -> Any:
    module, _, attribute = COMMANDS[name].partition(".")
    target = getattr(import_module(f"memq_cli.commands.{module}"), attribute)
    holder = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    holder.callback()(lambda: None)  # makes it a group also of one command
    if isinstance(target, typer.Typer):
        for registered in target.registered_commands:
            assert registered.callback is not None
            registered.callback = required(registered.callback)
        holder.add_typer(target, name=name, epilog=EPILOG)
    else:
        holder.command(name, epilog=EPILOG)(required(target))
    group: Any = typer.main.get_command(holder)
    return group.commands[name]


app = typer.Typer(
    name="memq",
    cls=Commands,
    help="Send vectors through RabbitMQ into Qdrant, and ask about them.",
    epilog=EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"memq {version('memq')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Send vectors through RabbitMQ into Qdrant, and ask about them.

    \b
    memq collections create notes --size 384
    memq upsert notes.jsonl -c notes
    memq query -c notes --vector-json '[0.1, 0.2, ...]' --limit 3
    memq dead list
    memq upsert --help
    """
    from memq_cli.output import notice
    from memq_schemas.variables import misspelt, unknown

    wrong = misspelt(os.environ)
    for name in unknown(os.environ):
        meant = f", did you mean {wrong[name]}?" if name in wrong else " ignored"
        notice(f"memq: {name}: unknown variable{meant}")
    if wrong:
        raise typer.Exit(2)
