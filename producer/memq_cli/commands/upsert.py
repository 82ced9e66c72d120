from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003  (typer reads it)
from typing import Annotated

import typer

from memq.connection.address import addresses
from memq_cli import options
from memq_cli.checkpoint import Checkpoint, Identity
from memq_cli.options import Collection, Json, Prefix, Target, Tenant, Timeout, Url
from memq_cli.run import run
from memq_cli.sources import BadFile, ColumnNames, open_source
from memq_cli.upload import Upload
from memq_schemas import Distance


class Decimals(StrEnum):
    NUMBER = "number"
    TEXT = "text"


class ModeName(StrEnum):
    UPSERT = "upsert"
    INSERT_ONLY = "insert_only"
    UPDATE_ONLY = "update_only"


class LaneName(StrEnum):
    LIVE = "live"
    BULK = "bulk"


def upsert(
    file: Annotated[Path, typer.Argument(help="File to send; - reads JSON Lines from standard input.")],
    collection: Collection,
    payloads: Annotated[
        Path | None, typer.Option(help="For .npy: JSON Lines with one object a row, its payload (and id).")
    ] = None,
    id_column: Annotated[str, typer.Option("--id-column", "--id-field", help="Column or field of the ids.")] = "id",
    id_key: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Derive ids from these columns (memq.point_id).")
    ] = None,
    id_start: Annotated[int | None, typer.Option(min=0, help="Number the points, starting here.")] = None,
    vector_column: Annotated[str, typer.Option(help="Column or field of the vectors.")] = "vector",
    version_column: Annotated[
        str, typer.Option(help="Column of versions; none if the file has none, so that a column version is payload.")
    ] = "version",
    payload_columns: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Only these become payload keys. [default: all others]")
    ] = None,
    decimals: Annotated[
        Decimals, typer.Option(help="number refuses decimals that no 64-bit float keeps; text stores all as text.")
    ] = Decimals.NUMBER,
    csv_types: Annotated[
        bool, typer.Option("--csv-types", help="Infer integers, numbers and booleans in CSV; cells are text otherwise.")
    ] = False,
    create: Annotated[bool, typer.Option("--create", help="Create the collection if it is missing.")] = False,
    distance: Annotated[Distance, typer.Option(help="For --create.")] = Distance.COSINE,
    batch_size: Annotated[int, typer.Option(min=1, help="Maximum number of points per message.")] = 100,
    zstd: Annotated[bool, typer.Option("--zstd", help="Compress messages: fewer bytes for more CPU.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Ignore the checkpoint of an interrupted run.")] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Checkpoint file. [default: below ~/.local/state]",
            show_default=False,
        ),
    ] = None,
    lane: Annotated[
        LaneName,
        typer.Option(
            help="bulk: the load does not delay live writes. Rows without a version may then overwrite newer live "
            "writes; live keeps the order of the queue."
        ),
    ] = LaneName.BULK,
    mode: Annotated[
        ModeName,
        typer.Option(help="insert_only: leave stored points alone. update_only: insert none. Both need Qdrant 1.17."),
    ] = ModeName.UPSERT,
    vectors_only: Annotated[
        bool,
        typer.Option("--vectors-only", help="Replace vectors of stored points, and leave their payloads as they are."),
    ] = False,
    wait: options.Wait = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Send the points of a file of any size.

    File types: JSON Lines, JSON arrays, CSV and TSV (also as .gz and .zst), Parquet, Arrow (Feather), .npy and .npz.

    The columns id, vector, payload and version have these meanings; all other columns become payload keys.
    vector.NAME is the column of a named vector. Every value is stored exactly, or the file is refused with the row and
    the column: see docs/reference/types.md. A file of up to 10,000 points is checked before anything is sent.

    After an interruption the same command continues where it stopped. No point is skipped; a few may be sent twice,
    which is harmless.

    \b
    memq upsert memories.parquet -c memories --create
    memq upsert notes.jsonl -c notes --id-key user,text --wait
    memq upsert notes.csv -c notes --vector-column embedding --csv-types
    memq upsert titles.parquet -c notes --vectors-only --wait
    memq upsert vectors.npy --payloads texts.jsonl -c docs --id-start 1
    head -100 notes.jsonl | memq upsert - -c notes
    """
    target = Target(url, prefix, timeout, json, tenant)
    if vectors_only and (create or mode is not ModeName.UPSERT):
        raise typer.BadParameter(
            "not with --create or --mode: all points have to be stored", param_hint="--vectors-only"
        )
    columns = ColumnNames(
        id_column,
        vector_column,
        () if vectors_only else options.names(payload_columns),
        options.names(id_key) or (),
        id_start,
        None if version_column == "none" else version_column,
        "text" if decimals is Decimals.TEXT else "number",
    )
    try:
        source = open_source(str(file), columns, payloads, csv_types=csv_types)
        progress_file = (
            None if str(file) == "-" else _checkpoint(file, payloads, collection, target, columns, checkpoint)
        )
        if progress_file is not None:
            progress_file.read(restart=restart)
    except BadFile as error:
        raise typer.BadParameter(str(error)) from None
    upload = Upload(
        source,
        collection,
        progress_file,
        columns,
        distance=distance if create else None,
        lane=lane.value,
        mode=mode.value,
        vectors_only=vectors_only,
        wait=wait,
        json=json,
    )
    compression = "zstd" if zstd else None
    run(target, upload.send, batch_size=batch_size, compression=compression, after_failure=upload.left)


def _checkpoint(
    file: Path, payloads: Path | None, collection: str, target: Target, columns: ColumnNames, path: Path | None
) -> Checkpoint:
    identity = Identity.of(file, payloads, collection, addresses(target.url), target.prefix, columns)
    return Checkpoint(path or identity.default_path, identity, required=path is not None)
