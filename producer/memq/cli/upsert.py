from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path  # noqa: TC003 typer reads annotations
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from memq.cli import options
from memq.cli.options import Collection, Json, Prefix, Target, Timeout, Url
from memq.cli.output import emit, notice, say
from memq.cli.progress import UploadProgress
from memq.cli.run import run
from memq.errors import InvalidPoint
from memq.sources import BadFile, ColumnNames, open_source
from memq.vectors import flat_array
from memq_schemas import Distance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memq.producer import Producer
    from memq.sources import Source
    from memq.sources.columns import Row

    Rows: TypeAlias = Iterator[Row] | AsyncIterator[Row]


def upsert(
    file: Annotated[str, typer.Argument(help="What to send; - reads JSON Lines from standard input.")],
    collection: Collection,
    payloads: Annotated[
        Path | None, typer.Option(help="For .npy: JSON Lines with one object a row, its payload (and id).")
    ] = None,
    id_column: Annotated[str, typer.Option("--id-column", "--id-field", help="Where ids are.")] = "id",
    id_key: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Derive ids from these columns (memq.point_id).")
    ] = None,
    id_start: Annotated[int | None, typer.Option(min=0, help="Number the points, from here.")] = None,
    vector_column: Annotated[str, typer.Option(help="Where vectors are.")] = "vector",
    payload_columns: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Only these become payload keys. [default: all others]")
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Make the collection if it is missing.")] = False,
    distance: Annotated[Distance, typer.Option(help="For --create.")] = Distance.COSINE,
    batch_size: Annotated[int, typer.Option(min=1, help="Points in a message, at most.")] = 100,
    wait: options.Wait = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Send the points of a file: JSON Lines, Parquet, Arrow (Feather) or .npy.

    The columns id, vector, payload and version are what they say; all others become payload keys. Dates become
    RFC 3339 text; in tables, empty cells are left out.

    \b
    memq upsert memories.parquet -c memories --create
    memq upsert notes.jsonl -c notes --id-key user,text --wait
    memq upsert vectors.npy --payloads texts.jsonl -c docs --id-start 1
    head -100 notes.jsonl | memq upsert - -c notes
    """
    target = Target(url, prefix, timeout, json)
    columns = ColumnNames(
        id_column, vector_column, options.names(payload_columns), options.names(id_key) or (), id_start
    )
    sent: list[UploadProgress] = []

    try:
        source = open_source(file, columns, payloads)
    except BadFile as error:
        raise typer.BadParameter(str(error)) from None

    async def send(producer: Producer) -> None:
        rows: Rows = source.rows()
        if create:
            rows = await _create(producer, collection, distance, rows)
        with UploadProgress(source) as progress:
            sent.append(progress)
            try:
                receipt = await producer.upsert(collection, rows, wait=wait, progress=progress)
            except InvalidPoint as error:
                raise _placed(source, error) from None
        _report(target, progress.seconds, receipt.points or 0, receipt.messages, wait)

    run(target, send, batch_size=batch_size, after_failure=lambda: _delivered(sent, wait))


async def _create(producer: Producer, collection: str, distance: Distance, rows: Rows) -> Rows:
    first = await _first(rows)
    if first is None:
        raise BadFile("there are no points in the file, so --create cannot know the dimensions")
    try:
        size = flat_array(first[1]).size
    except ValueError as error:
        raise BadFile(f"the first point's vector: {error}") from None
    answer = await producer.collections.create(collection, size, distance, exist_ok=True)
    if answer.created:
        notice(f"memq: created collection {collection} ({size} dimensions, {distance})")
    return _chained(first, rows) if isinstance(rows, AsyncIterator) else itertools.chain([first], rows)


async def _first(rows: Rows) -> Row | None:
    return await anext(rows, None) if isinstance(rows, AsyncIterator) else next(rows, None)


async def _chained(first: Row, rows: AsyncIterator[Row]) -> AsyncIterator[Row]:
    yield first
    async for row in rows:
        yield row


def _placed(source: Source, error: InvalidPoint) -> BadFile:
    return BadFile(f"{source.place}: {error.field + ': ' if error.field else ''}{error.reason}")


def _delivered(sent: list[UploadProgress], wait: bool) -> str | None:
    if not sent:
        return "nothing was sent"
    receipt = sent[0].receipt
    how = "applied" if wait else "confirmed by the broker"
    if not receipt.points:
        return f"no point was {how} before that"
    return (
        f"before that {receipt.points:,} points in {receipt.messages:,} messages were {how}; "
        "sending the whole file again is harmless, the same ids are written over"
    )


def _report(target: Target, seconds: float, points: int, messages: int, wait: bool) -> None:
    rate = points / max(seconds, 1e-9)
    if target.json:
        emit({"points": points, "messages": messages, "seconds": seconds, "points_per_second": rate, "applied": wait})
        return
    how = "applied" if wait else "confirmed"
    say(f"{points:,} points {how} in {messages:,} messages, {seconds:.2f} s, {rate:,.0f} points per second")
