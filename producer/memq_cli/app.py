from __future__ import annotations

import os
from importlib.metadata import version
from typing import Annotated

import typer

from memq_cli.commands import aliases, changes, collections, dead, indexes, load, reads, scroll, top, traffic, upsert
from memq_cli.output import notice, say
from memq_schemas.variables import misspelt, unknown

EPILOG = """\b
Exit codes:
  0    done
  1    the worker or the broker said no, or cannot be reached
  2    wrong usage, or bad input
  3    no answer or no confirm in time
  4    a threshold of `memq load` was crossed
  130  interrupted

\b
Environment:
  MEMQ_AMQP_URL       the broker, like amqp://user:password@host:5672/vhost
  MEMQ_AMQP_URL_FILE  a file that has it
  MEMQ_TRANSPORT      stock leaves AMQP frames to aiormq, at several times the CPU
  NO_COLOR            plain text
"""

app = typer.Typer(
    name="memq",
    help="Send vectors through RabbitMQ into Qdrant, and ask about them.",
    epilog=EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    upsert.upsert,
    scroll.scroll,
    reads.query,
    reads.get,
    reads.count,
    changes.delete,
    changes.set_payload,
    top.top,
    traffic.traffic,
    load.load,
):
    app.command(epilog=EPILOG)(command)
app.add_typer(collections.app, name="collections", epilog=EPILOG)
app.add_typer(indexes.app, name="index", epilog=EPILOG)
app.add_typer(aliases.app, name="alias", epilog=EPILOG)
app.add_typer(dead.app, name="dead", epilog=EPILOG)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"memq {version('memq')}")
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
    wrong = misspelt(os.environ)
    for name in unknown(os.environ):
        meant = f", did you mean {wrong[name]}?" if name in wrong else " ignored"
        notice(f"memq: {name}: unknown variable{meant}")
    if wrong:
        raise typer.Exit(2)


def main() -> None:
    app(prog_name="memq")
