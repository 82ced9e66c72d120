from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memq_cli import options
from memq_cli.description import description_rows
from memq_cli.options import Json, Prefix, Target, Tenant, Timeout, Url
from memq_cli.output import emit, listing, result, say
from memq_cli.run import run
from memq_schemas import Distance

if TYPE_CHECKING:
    from memq.producer import Producer

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="List, create, change, describe and delete collections."
)

_OPTIONS = "Options as in Qdrant's REST API; see schemas/README.md."
Options = Annotated[str | None, typer.Option("--options", metavar="JSON", help=_OPTIONS)]
Name = Annotated[str, typer.Argument(help="The collection.")]


@app.command("list")
def names(
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """List collections by name, one a line."""
    target = Target(url, prefix, timeout, json, tenant)

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
    size: Annotated[int | None, typer.Option(min=1, help="Dimensions of its vectors.")] = None,
    distance: Annotated[Distance, typer.Option(help="How vectors are compared.")] = Distance.COSINE,
    given: Options = None,
    exist_ok: Annotated[
        bool, typer.Option("--exist-ok", help="Accept an existing collection with these options.")
    ] = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Create a collection with one vector a point, or with those in --options.

    \b
    memq collections create memories --size 384 --distance cosine
    memq collections create notes --options '{"vectors": {"text": {"size": 384}}, "sparse_vectors": {"words": {}}}'
    """
    target = Target(url, prefix, timeout, json, tenant)
    more = options.json_object(given, "--options") or {}

    async def ask(producer: Producer) -> None:
        answer = await producer.collections.create(name, size, distance, exist_ok=exist_ok, **more)
        result(target, answer, f"{name}: {'created' if answer.created else 'was there already'}")

    run(target, ask)


@app.command()
def update(
    name: Name,
    given: Annotated[str, typer.Option("--options", metavar="JSON", help=_OPTIONS)],
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Change options of a collection. Those that are not given stay as they are.

    \b
    memq collections update memories --options '{"quantization_config": {"scalar": {"type": "int8"}}}'
    """
    target = Target(url, prefix, timeout, json, tenant)
    change = options.json_object(given, "--options") or {}

    async def ask(producer: Producer) -> None:
        answer = await producer.collections.update(name, **change)
        result(target, answer, f"{name}: updated")

    run(target, ask)


@app.command()
def describe(
    name: Name,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Show a collection's status, points, vectors, indexes and aliases; with --json all of its options."""
    target = Target(url, prefix, timeout, json, tenant)

    async def ask(producer: Producer) -> None:
        answer = await producer.collections.describe(name)
        listing(target, answer, ["", ""], description_rows(answer.collection))

    run(target, ask)


@app.command()
def delete(
    name: Name,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Delete a collection and all its points, at once and without asking."""
    target = Target(url, prefix, timeout, json, tenant)

    async def ask(producer: Producer) -> None:
        answer = await producer.collections.delete(name)
        result(target, answer, f"{name}: {'deleted' if answer.deleted else 'was not there'}")

    run(target, ask)
