from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memq_cli import options
from memq_cli.options import Json, Prefix, Target, Timeout, Url
from memq_cli.output import emit, say, table
from memq_cli.run import run
from memq_schemas import Distance

if TYPE_CHECKING:
    from memq.producer import Producer

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="List, create, describe and delete collections.")

Name = Annotated[str, typer.Argument(help="The collection.")]


@app.command("list")
def names(
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """List collections by name, one a line."""
    target = Target(url, prefix, timeout, json)

    async def ask(producer: Producer) -> None:
        answer = await producer.collections.list()
        if target.json:
            emit(answer)
            return
        for name in answer.names:
            say(name)

    run(target, ask)


@app.command()
def create(
    name: Name,
    size: Annotated[int, typer.Option(min=1, help="Dimensions of its vectors.")],
    distance: Annotated[Distance, typer.Option(help="How vectors are compared.")] = Distance.COSINE,
    exist_ok: Annotated[
        bool, typer.Option("--exist-ok", help="Fine if it is there with the same size and distance.")
    ] = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Create a collection with one vector a point.

    \b
    memq collections create memories --size 384 --distance cosine
    """
    target = Target(url, prefix, timeout, json)

    async def ask(producer: Producer) -> None:
        answer = await producer.collections.create(name, size, distance, exist_ok=exist_ok)
        if target.json:
            emit(answer)
        else:
            say(f"{name}: {'created' if answer.created else 'was there already'}")

    run(target, ask)


@app.command()
def describe(
    name: Name,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Show a collection's status, points and vectors."""
    target = Target(url, prefix, timeout, json)

    async def ask(producer: Producer) -> None:
        answer = await producer.collections.describe(name)
        if target.json:
            emit(answer)
            return
        found = answer.collection
        vectors = [
            f"{f'{vector}: ' if vector else ''}{params.size} dimensions, {params.distance}"
            for vector, params in found.vectors.items()
        ]
        rows = [["name", found.name], ["status", found.status], ["points", str(found.points)]]
        table(["", ""], [*rows, *(["vector", vector] for vector in vectors)])

    run(target, ask)


@app.command()
def delete(
    name: Name,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Delete a collection and all its points, at once and without asking."""
    target = Target(url, prefix, timeout, json)

    async def ask(producer: Producer) -> None:
        answer = await producer.collections.delete(name)
        if target.json:
            emit(answer)
        else:
            say(f"{name}: {'deleted' if answer.deleted else 'was not there'}")

    run(target, ask)
