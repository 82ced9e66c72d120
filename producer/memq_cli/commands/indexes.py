from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memq_cli import options
from memq_cli.options import Collection, Json, Prefix, Target, Tenant, Timeout, Url
from memq_cli.output import listing, result
from memq_cli.run import run
from memq_schemas import IndexType  # noqa: TC001  (typer reads it)

if TYPE_CHECKING:
    from memq.producer import Producer

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Create, list and delete indexes of payload keys.")

Key = Annotated[str, typer.Argument(help="The payload key.")]


@app.command()
def create(
    collection: Collection,
    key: Key,
    type_: Annotated[IndexType, typer.Option("--type", help="The type of the key's values.")],
    given: Annotated[
        str | None, typer.Option("--options", metavar="JSON", help='Options of the type: {"tokenizer": "word"}.')
    ] = None,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Index a payload key. Returns when the store has accepted it; building may take longer.

    \b
    memq index create user -c memories --type keyword
    memq index create text -c memories --type text --options '{"stopwords": "english", "stemmer": "english"}'
    """
    target = Target(url, prefix, timeout, json, tenant)
    more = options.json_object(given, "--options") or {}

    async def ask(producer: Producer) -> None:
        answer = await producer.indexes.create(collection, key, type_, **more)
        result(target, answer, f"{key}: accepted")

    run(target, ask)


@app.command("list")
def keys(
    collection: Collection,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """List the indexed payload keys with their types and the points that each index holds so far."""
    target = Target(url, prefix, timeout, json, tenant)

    async def ask(producer: Producer) -> None:
        found = (await producer.collections.describe(collection)).collection.indexes
        document = {key: index.model_dump(mode="json") for key, index in found.items()}
        rows = ([key, each.type, str(each.points)] for key, each in found.items())
        listing(target, document, ["key", "type", "points"], rows)

    run(target, ask)


@app.command()
def delete(
    collection: Collection,
    key: Key,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Delete the index of a payload key; the payload stays."""
    target = Target(url, prefix, timeout, json, tenant)

    async def ask(producer: Producer) -> None:
        answer = await producer.indexes.delete(collection, key)
        result(target, answer, f"{key}: accepted")

    run(target, ask)
