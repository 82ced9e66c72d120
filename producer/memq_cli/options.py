"""Options that every command has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import orjson
import typer

from memq.connection.address import VARIABLE, addresses
from memq.errors import ConfigurationError
from memq_cli.output import notice
from memq_schemas.tenants import TenantNames
from memq_schemas.topology import DEFAULT_PREFIX

Url: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar=VARIABLE,
        metavar="AMQP_URL",
        help="Address of RabbitMQ; separate several with commas.",
        show_default=False,
    ),
]
Prefix: TypeAlias = Annotated[
    str, typer.Option(envvar="MEMQ_PREFIX", help="First part of the name of every exchange and queue.")
]
Tenant: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="MEMQ_TENANT",
        metavar="NAME",
        help="Act as this tenant, with its user; without it, as the operator.",
        show_default=False,
    ),
]
Timeout: TypeAlias = Annotated[
    float, typer.Option(min=0.001, metavar="SECONDS", help="Timeout for a connection, a confirm, an answer.")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]
Collection: TypeAlias = Annotated[str, typer.Option("--collection", "-c", help="The collection.")]
FilterJson: TypeAlias = Annotated[
    str | None, typer.Option("--filter", metavar="JSON", help="A filter in Qdrant's REST grammar.")
]
Fields: TypeAlias = Annotated[
    str | None, typer.Option(metavar="KEY,KEY", help="Only these payload keys; an empty text for no payload.")
]
Wait: TypeAlias = Annotated[bool, typer.Option("--wait", help="Return when the worker has applied it.")]

URL = ""  # what `addresses` takes without one
PREFIX = DEFAULT_PREFIX
TENANT = ""
TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a command goes and how it answers."""

    url: str
    prefix: str
    timeout: float
    json: bool
    tenant: str = ""

    def __post_init__(self) -> None:
        if self.tenant:
            try:
                TenantNames(self.prefix, self.tenant)
            except ValueError as error:
                raise typer.BadParameter(str(error).removeprefix("tenant: "), param_hint="--tenant") from None
        try:
            addresses(self.url)
        except ConfigurationError as error:
            # One line and no usage: the address is more often in the environment than in the command.
            text = str(error)
            notice(f"memq: {f'--{text}' if text.startswith('url:') else text}")
            raise typer.Exit(2) from None


def json_object(text: str | None, option: str) -> dict[str, Any] | None:
    if text is None:
        return None
    value = _json(text, option)
    if not isinstance(value, dict):
        raise typer.BadParameter('expected a JSON object, like {"key": "value"}', param_hint=option)
    return value  # pyright: ignore[reportUnknownVariableType]


def json_array(text: str, option: str) -> list[Any]:
    value = _json(text, option)
    if not isinstance(value, list):
        raise typer.BadParameter("expected a JSON array of numbers, like [0.1, 0.2]", param_hint=option)
    return value  # pyright: ignore[reportUnknownVariableType]


def json_vector(text: str, option: str) -> Any:
    """Return a dense vector, the rows of a multivector, or a sparse vector."""
    value = _json(text, option)
    if isinstance(value, list) or (isinstance(value, dict) and {"indices", "values"} == set(value)):  # pyright: ignore[reportUnknownArgumentType]
        return value  # pyright: ignore[reportUnknownVariableType]
    form = '{"indices": [3, 17], "values": [0.5, 0.1]}'
    raise typer.BadParameter(f"expected a JSON array of numbers or of vectors, or {form}", param_hint=option)


def json_value(text: str | None, option: str) -> Any:
    """Return any JSON value, of the option itself or, after @, of a file. None where the option was not given."""
    if text is None:
        return None
    if not text.startswith("@"):
        return _json(text, option)
    try:
        return _json(Path(text[1:]).read_text(), option)
    except OSError as error:
        raise typer.BadParameter(f"{text[1:]}: {error.strerror or error}", param_hint=option) from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{text[1:]}: not UTF-8", param_hint=option) from None


def _json(text: str, option: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint=option) from None


def names(text: str | None) -> tuple[str, ...] | None:
    """The parts between commas; none for an empty text, None where the option was not given."""
    return None if text is None else tuple(filter(None, (part.strip() for part in text.split(","))))


def with_payload(fields: str | None) -> bool | list[str]:
    chosen = names(fields)
    if chosen is None:
        return True
    return list(chosen) or False


def ids(texts: list[str]) -> list[int | str]:
    """Digits are an integer id, anything else has to be a UUID."""
    return [int(text) if text.isascii() and text.isdigit() else text for text in texts]
