"""Text arguments of commands."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable


def required(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command, which refuses text arguments that are not UTF-8. Paths may have any bytes."""

    @wraps(command)
    def checked(**arguments: Any) -> None:
        for name, value in arguments.items():
            if not all(map(_is_utf8, value if isinstance(value, list) else [value])):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
                raise typer.BadParameter("not UTF-8", param_hint=_hint(command, name))
        command(**arguments)

    return checked


def _is_utf8(value: object) -> bool:
    # Python keeps bytes of arguments and variables that it cannot decode as surrogates.
    return not isinstance(value, str) or not any("\ud800" <= character <= "\udfff" for character in value)


def _hint(command: Callable[..., None], name: str) -> str:
    """Return the argument as its user writes it."""
    annotation: Any = inspect.signature(command, eval_str=True).parameters[name].annotation
    described = annotation.__metadata__[0]
    if isinstance(described, typer.models.ArgumentInfo):
        return described.metavar or name.upper()
    # typer has the first name of an annotated option as its default.
    declared = [described.default, *(described.param_decls or ())]
    long = [each for each in declared if isinstance(each, str) and each.startswith("--")]
    return long[0] if long else f"--{name.replace('_', '-')}"
