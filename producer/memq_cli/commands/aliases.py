from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memq_cli import options
from memq_cli.options import Collection, Json, Prefix, Target, Tenant, Timeout, Url
from memq_cli.output import listing, result
from memq_cli.run import run

if TYPE_CHECKING:
    from memq.producer import Producer

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="List, create, switch and delete aliases.")

Alias = Annotated[str, typer.Argument(help="The alias.")]


@app.command("list")
def names(
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """List aliases with the collections they belong to."""
    target = Target(url, prefix, timeout, json, tenant)

    async def ask(producer: Producer) -> None:
        answer = await producer.aliases.list()
        listing(target, answer, ["alias", "collection"], ([alias, name] for alias, name in answer.aliases.items()))

    run(target, ask)


@app.command()
def create(
    alias: Alias,
    collection: Collection,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Give a collection an alias that no other collection has."""
    target = Target(url, prefix, timeout, json, tenant)

    async def ask(producer: Producer) -> None:
        answer = await producer.aliases.create(alias, collection)
        result(target, answer, f"{alias}: {'created' if answer.changed else 'was there already'}")

    run(target, ask)


@app.command()
def switch(
    alias: Alias,
    collection: Collection,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Give a collection an alias, taking it from the collection that has it, in one step.

    \b
    memq alias switch memories -c memories-2
    """
    target = Target(url, prefix, timeout, json, tenant)

    async def ask(producer: Producer) -> None:
        answer = await producer.aliases.switch(alias, collection)
        result(target, answer, f"{alias}: {collection}, before {answer.before or 'none'}")

    run(target, ask)


@app.command()
def delete(
    alias: Alias,
    collection: Collection,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Take an alias from its collection; the collection stays."""
    target = Target(url, prefix, timeout, json, tenant)

    async def ask(producer: Producer) -> None:
        answer = await producer.aliases.delete(alias, collection)
        result(target, answer, f"{alias}: {'deleted' if answer.changed else 'was not there'}")

    run(target, ask)
