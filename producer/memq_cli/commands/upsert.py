from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memq.connection.address import addresses
from memq_cli import options
from memq_cli.checkpoint import Checkpoint, Identity
from memq_cli.options import Collection, Json, Prefix, Target, Timeout, Url
from memq_cli.run import run
from memq_cli.sources import BadFile, ColumnNames, open_source
from memq_cli.upload import Upload
from memq_schemas import Distance


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
    zstd: Annotated[bool, typer.Option("--zstd", help="Compress messages: fewer bytes for more CPU.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Send all, also what an interrupted run has sent.")
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to keep how far it has come. [default: below ~/.local/state]",
            show_default=False,
        ),
    ] = None,
    wait: options.Wait = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Send the points of a file: JSON Lines, Parquet, Arrow (Feather) or .npy, of any size.

    The columns id, vector, payload and version are what they say; all others become payload keys. Dates become
    RFC 3339 text; in tables, empty cells are left out. vector.NAME is the column of a named vector.

    When it is interrupted, by whatever, the same command goes on where it was. Nothing is left out; a few points may be
    sent twice, which is harmless.

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
    try:
        source = open_source(file, columns, payloads)
        kept = None if file == "-" else _checkpoint(Path(file), payloads, collection, target, columns, checkpoint)
        if kept is not None:
            kept.read(restart=restart)
    except BadFile as error:
        raise typer.BadParameter(str(error)) from None
    upload = Upload(source, collection, kept, distance=distance if create else None, wait=wait, json=json)
    compression = "zstd" if zstd else None
    run(target, upload.send, batch_size=batch_size, compression=compression, after_failure=upload.left)


def _checkpoint(
    file: Path, payloads: Path | None, collection: str, target: Target, columns: ColumnNames, path: Path | None
) -> Checkpoint:
    identity = Identity.of(file, payloads, collection, addresses(target.url), target.prefix, columns)
    return Checkpoint(path or identity.default_path, identity, required=path is not None)
