from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memq_cli import options
from memq_cli.options import Collection, FilterJson, Json, Prefix, Target, Tenant, Timeout, Url
from memq_cli.output import emit, say
from memq_cli.run import run

if TYPE_CHECKING:
    from memq.answers import Receipt
    from memq.producer import Producer

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Integers or UUIDs.")]


def delete(
    collection: Collection,
    id_: Ids = None,
    filter_: FilterJson = None,
    vectors: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="Remove only the vectors of these names, and keep the points."),
    ] = None,
    wait: options.Wait = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Delete points, by id or by filter, or only some of their vectors.

    \b
    memq delete -c notes 17 18 --wait
    memq delete -c notes 17 --vectors title
    memq delete -c memories --filter '{"must": [{"key": "user", "match": {"value": "u03"}}]}'
    """
    target = Target(url, prefix, timeout, json, tenant)
    condition = options.json_object(filter_, "--filter")
    ids = _one_selector(id_, filter_)
    names = options.names(vectors)
    if names == ():
        raise typer.BadParameter("names no vector", param_hint="--vectors")

    async def send(producer: Producer) -> None:
        if names is None:
            receipt = await producer.delete(collection, ids, filter=condition, wait=wait)
        else:
            receipt = await producer.delete_vectors(collection, names, ids, filter=condition, wait=wait)
        _report(target, receipt)

    run(target, send)


def set_payload(
    collection: Collection,
    id_: Ids = None,
    filter_: FilterJson = None,
    set_: Annotated[str | None, typer.Option("--set", metavar="JSON", help="Keys to set.")] = None,
    overwrite: Annotated[str | None, typer.Option(metavar="JSON", help="The whole new payload.")] = None,
    unset: Annotated[str | None, typer.Option(metavar="KEY,KEY", help="Keys to remove.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all keys first.")] = False,
    key: Annotated[
        str | None, typer.Option(metavar="PATH", help="Merge the keys of --set into the object at this path.")
    ] = None,
    wait: options.Wait = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Change the payload of points, chosen by id or by filter.

    \b
    memq set-payload -c notes 17 --set '{"read": true}' --unset draft
    memq set-payload -c notes 17 --set '{"name": "Ada"}' --key author
    """
    target = Target(url, prefix, timeout, json, tenant)
    condition = options.json_object(filter_, "--filter")
    ids = _one_selector(id_, filter_)
    if set_ is None and overwrite is None and unset is None and not clear:
        raise typer.BadParameter("nothing to change: give --set, --overwrite, --clear or --unset")
    new, whole = options.json_object(set_, "--set"), options.json_object(overwrite, "--overwrite")

    async def send(producer: Producer) -> None:
        receipt = await producer.set_payload(
            collection,
            ids,
            filter=condition,
            set=new,
            overwrite=whole,
            unset=options.names(unset),
            clear=clear,
            key=key,
            wait=wait,
        )
        _report(target, receipt)

    run(target, send)


def _one_selector(given: list[str] | None, filter_: str | None) -> list[int | str] | None:
    if bool(given) == (filter_ is not None):
        raise typer.BadParameter("give either ids or --filter")
    return options.ids(given) if given else None


def _report(target: Target, receipt: Receipt) -> None:
    if target.json:
        emit(receipt)
        return
    what = "the filter" if receipt.points is None else f"{receipt.points} ids"
    say(f"{'applied' if receipt.applied else 'queued'}: {what}")
