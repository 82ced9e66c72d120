"""Help texts of `memq` and `memq-worker`."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import TYPE_CHECKING, Any

import typer.main

from memq_cli.app import EPILOG
from memq_cli.app import app as memq
from memq_worker.cli import app as memq_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMON = 7  # commands with an option, from which on it is described once for all


def page() -> str:
    """Return the page with the help of every command."""
    parts = [
        "# Commands",
        "",
        "Every setting of `memq-worker` is also an option of its commands: see [Settings](settings.md).",
        "`memq COMMAND --help` prints these texts.",
    ]
    for name, app in (("memq", memq), ("memq-worker", memq_worker)):
        found = dict(_commands(name, typer.main.get_command(app)))
        counted = Counter(option for command in found.values() for option in _options(command))
        common = {option for option, count in counted.items() if count >= COMMON}
        for line, command in found.items():
            parts += ["", f"## {line}", "", "```text", *_help(command).splitlines(), "```"]
            own = [option for option in _options(command) if option not in common]
            parts += ["", *_table(own)] if own else []
        shared = [option for option in counted if option in common and not option[1].endswith("]")]
        parts += ["", f"## Options of most {name} commands", "", *_table(shared)] if name == "memq" else []
    return "\n".join(
        [
            *parts,
            "",
            "## Exit codes and environment of memq",
            "",
            "```text",
            *inspect.cleandoc(EPILOG.replace("\b\n", "")).splitlines(),
            "```",
        ]
    )


def _commands(line: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield line, command
    if hasattr(command, "list_commands"):
        context = typer.Context(command)
        for name in command.list_commands(context):
            yield from _commands(f"{line} {name}", command.get_command(context, name))


def _help(command: Any) -> str:
    return inspect.cleandoc(command.help or "").replace("\b\n", "")


def _options(command: Any) -> list[tuple[str, str]]:
    """Return the names and help of the options and arguments, without --help and completion."""
    found: list[tuple[str, str]] = []
    for parameter in command.params:
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        if parameter.param_type_name == "argument":
            found.append((parameter.metavar or parameter.name.upper(), parameter.help or ""))
        else:
            found.append((", ".join(parameter.opts), parameter.help or ""))
    return found


def _table(options: list[tuple[str, str]]) -> list[str]:
    rows = [f"| `{name}` | {text.replace('|', chr(92) + '|')} |" for name, text in options]
    return ["| option | meaning |", "|---|---|", *rows]
