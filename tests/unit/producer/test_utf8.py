"""Text arguments of every command: bytes that are not UTF-8 are refused by name before anything is sent."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import typer

from memq_cli.app import COMMANDS, app

BAD = "a\udce9"
REQUIRED = {"type_": "keyword"}


def leaves() -> dict[str, Any]:
    """Commands by their words."""
    found: dict[str, Any] = {}
    root: Any = typer.main.get_command(app)
    for name in COMMANDS:
        command = root.get_command(None, name)
        inner: dict[str, Any] = getattr(command, "commands", {})
        found.update({f"{name} {each}": inner[each] for each in inner} if inner else {name: command})
    return found


def text_parameters() -> list[Any]:
    chosen = []
    for words, command in leaves().items():
        declared = inspect.signature(inspect.unwrap(command.callback), eval_str=True).parameters
        chosen += [
            pytest.param(words, parameter, command, id=f"{words} {parameter.name}")
            for parameter in command.params
            if parameter.name in declared and "str" in str(declared[parameter.name].annotation.__origin__)
        ]
    return chosen


def filled(parameter: Any, value: str) -> list[str]:
    if parameter.param_type_name == "argument":
        return [value]
    return [parameter.opts[0], value]


@pytest.mark.parametrize(("words", "parameter", "command"), text_parameters())
def test_text_that_is_not_utf8_is_refused_by_name(
    words: str, parameter: Any, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*words.split()]
    for other in command.params:
        if other.name == parameter.name:
            line += filled(other, BAD)
        elif other.required:
            line += filled(other, REQUIRED.get(other.name, "1"))
    with pytest.raises(SystemExit) as ended:
        app(line, prog_name="memq")
    text = capsys.readouterr().err
    assert ended.value.code == 2, text
    named = parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar or parameter.name.upper()
    assert f"{named}: not UTF-8" in text or f"{named}': not UTF-8" in text
