from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads it)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memq_cli import options
from memq_cli.export import Export
from memq_cli.options import Collection, Fields, FilterJson, Json, Prefix, Target, Timeout, Url
from memq_cli.output import emit, notice
from memq_cli.run import run

if TYPE_CHECKING:
    from memq.producer import Producer


def scroll(
    collection: Collection,
    file: Annotated[
        Path | None, typer.Argument(help="A .jsonl, .parquet or .arrow file; standard output without one.")
    ] = None,
    with_vector: Annotated[bool, typer.Option("--with-vector", help="Write vectors too.")] = False,
    fields: Fields = None,
    filter_: FilterJson = None,
    page: Annotated[int, typer.Option(min=1, max=10_000, help="Points asked for at a time.")] = 1000,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted export to a .jsonl file.")] = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Export points: the counterpart of `memq upsert FILE`.

    \b
    memq scroll -c memories memories.jsonl --with-vector
    memq scroll -c memories --filter '{"must": [{"key": "user", "match": {"value": "u03"}}]}' | jq .payload
    """
    target = Target(url, prefix, timeout, json)
    condition = options.json_object(filter_, "--filter")
    export = Export(file, resume)
    wanted: dict[str, Any] = {
        "limit": page,
        "filter": condition,
        "with_payload": options.with_payload(fields),
        "with_vector": "base64" if with_vector else False,
    }

    async def ask(producer: Producer) -> None:
        with export:
            offset = export.offset
            while not export.finished:
                answer = await producer.scroll(collection, offset=offset, **wanted)
                export.write(answer.points, answer.next)
                offset = answer.next
                if file is not None:
                    notice(f"memq: {export.points} points")
        if target.json and file is not None:
            emit({"points": export.points})

    def unfinished() -> str | None:
        return export.advice()

    run(target, ask, after_failure=unfinished)
