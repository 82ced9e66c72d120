from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path  # noqa: TC003  (typer reads it)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memq_cli import options
from memq_cli.export import Export, Selection
from memq_cli.export_progress import ExportProgress
from memq_cli.options import Collection, Fields, FilterJson, Json, Prefix, Target, Tenant, Timeout, Url
from memq_cli.output import emit, notice, say
from memq_cli.run import run

if TYPE_CHECKING:
    from memq.producer import Producer


def scroll(
    collection: Collection,
    file: Annotated[
        Path | None,
        typer.Argument(help="A .jsonl, .parquet or .arrow file; JSON Lines on standard output without one."),
    ] = None,
    with_vector: Annotated[
        bool | None,
        typer.Option("--with-vector/--no-vector", help="Write vectors too. [default: in a file]", show_default=False),
    ] = None,
    fields: Fields = None,
    filter_: FilterJson = None,
    page: Annotated[int, typer.Option(min=1, max=10_000, help="Points asked for at a time.")] = 1000,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start over, also if an interrupted run has written a part.")
    ] = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Export points to a file, the counterpart of `memq upsert FILE`.

    A file has everything of a point: id, vectors of all kinds, payload and version. Parquet and Arrow need memq[arrow].
    The points go to FILE.part first. After an interruption the same command continues where it stopped. Points that are
    written during an export may be in it or not.

    \b
    memq scroll -c memories memories.parquet
    memq upsert memories.parquet -c memories-2
    memq scroll -c memories --filter '{"must": [{"key": "user", "match": {"value": "u03"}}]}' | jq .payload
    """
    target = Target(url, prefix, timeout, json, tenant)
    condition = options.json_object(filter_, "--filter")
    vectors = file is not None if with_vector is None else with_vector
    selection = Selection(collection, condition, options.with_payload(fields), vectors)
    export = Export(file, selection, restart=restart)

    async def ask(producer: Producer) -> None:
        with closing(export), ExportProgress(file is not None) as progress:
            await _run(producer, export, selection, page, progress)
        if file is None:
            return
        if target.json:
            emit({"points": export.points})
        else:
            say(f"{export.points:,} points in {file}")

    run(target, ask, after_failure=export.advice)


async def _run(producer: Producer, export: Export, selection: Selection, page: int, progress: ExportProgress) -> None:
    wanted: dict[str, Any] = {
        "limit": page,
        "filter": selection.filter,
        "with_payload": selection.with_payload,
        "with_vector": "base64" if selection.with_vector else False,
    }
    if export.needs_description:
        export.begin((await producer.collections.describe(selection.collection)).collection)
    else:
        export.begin(None)
    if export.resumed:
        notice(f"memq: resuming after the first {export.points:,} points, which an interrupted run has written")
    if progress.shown:
        count = await producer.count(selection.collection, filter=selection.filter, exact=False)
        progress.begin(export.points, count.count)
    asked = asyncio.ensure_future(producer.scroll(selection.collection, offset=export.offset, **wanted))
    try:
        while True:
            answer = await asked
            if answer.next is not None:
                # The worker reads the next page while this one is written.
                asked = asyncio.ensure_future(producer.scroll(selection.collection, offset=answer.next, **wanted))
            await asyncio.to_thread(export.write, answer.points, answer.next)
            progress(export.points)
            if answer.next is None:
                return
    finally:
        asked.cancel()
