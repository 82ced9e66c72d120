"""Settings as flags of commands, so that flags, variables and the documentation cannot differ."""

import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from memq_worker.environment import load
from memq_worker.errors import BrokerUnavailable, ConfigurationError, WorkerError
from memq_worker.settings import INTERNAL, Settings, flag, variable

EXIT_FAILED = 1
EXIT_CONFIGURATION = 2

Command = Callable[..., int]


def with_settings(command: Command, argument: str | None = None, **switches: str) -> Callable[..., None]:
    """The command with every setting as a flag, so that flags, variables and the documentation cannot differ.

    `switches` are flags of the command alone, by name with their help; it is given their values as keywords, and that
    of its `argument` likewise.
    """

    def run(**given: Any) -> None:
        own: dict[str, Any] = {name: bool(given.pop(name)) for name in switches}
        if argument is not None:
            own[argument] = given.pop(argument)
        flags: dict[str, str] = {name: value for name, value in given.items() if value is not None}
        try:
            code = command(load(flags), flags, **own)
        except ConfigurationError as error:
            fail(str(error), EXIT_CONFIGURATION)
        except BrokerUnavailable as error:
            fail(str(error), EXIT_FAILED)
        except WorkerError as error:
            fail(error.message, EXIT_FAILED)
        raise typer.Exit(code)

    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option(name)]
        )
        for name, field in Settings.model_fields.items()
        if field.description != INTERNAL
    ]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_switch(name, text))
        for name, text in switches.items()
    ]
    if argument is not None:
        given = Annotated[str, typer.Argument(metavar=argument.upper())]
        parameters.append(inspect.Parameter(argument, inspect.Parameter.KEYWORD_ONLY, annotation=given))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    return run


def _switch(name: str, text: str) -> Any:
    return Annotated[bool, typer.Option(f"--{name}", help=text)]


def option(name: str) -> Any:
    field = Settings.model_fields[name]
    default = "" if field.default_factory is not None or field.default is None else f", default {_shown(field.default)}"
    text = f"{field.description} [{variable(name)}{default}]"
    return typer.Option(flag(name), help=text, show_default=False, metavar="VALUE")


def _shown(default: Any) -> str:
    return default.get_secret_value() if hasattr(default, "get_secret_value") else str(default)


def fail(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        sys.stderr.write(f"memq-worker: {line}\n")
    raise typer.Exit(code)
