from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memq.errors import InvalidRequest
from memq_cli import options
from memq_cli.options import Collection, Fields, FilterJson, Json, Prefix, Target, Tenant, Timeout, Url
from memq_cli.output import compact, listing, result
from memq_cli.run import run

if TYPE_CHECKING:
    from memq.producer import Producer
    from memq_schemas import Record

WithVector = Annotated[bool, typer.Option("--with-vector", help="Show vectors too.")]


def query(
    collection: Collection,
    vector: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File of a JSON array, or a .npy file; - for standard input.")
    ] = None,
    vector_json: Annotated[str | None, typer.Option(metavar="JSON", help="The vector itself: [0.1, 0.2].")] = None,
    like: Annotated[
        str | None, typer.Option(metavar="ID", help="Find the neighbours of this point, without the point itself.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of points.")] = 10,
    offset: Annotated[int, typer.Option(min=0, help="Number of best hits to skip.")] = 0,
    threshold: Annotated[float | None, typer.Option(help="Only points with this score or a better one.")] = None,
    filter_: FilterJson = None,
    using: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the vector, if the collection has named vectors.")
    ] = None,
    query_: Annotated[
        str | None,
        typer.Option(
            "--query", metavar="JSON", help="A query in Qdrant's REST grammar instead of a vector; @FILE reads a file."
        ),
    ] = None,
    prefetch: Annotated[
        str | None, typer.Option(metavar="JSON", help="One prefetch or a list of them for --query; or @FILE.")
    ] = None,
    params: Annotated[
        str | None, typer.Option(metavar="JSON", help='Search parameters, like {"exact": true}; or @FILE.')
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(metavar="KEY", help="Find --limit groups of points, one for each value of this key.")
    ] = None,
    group_size: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of points per group. [default: 3]")
    ] = None,
    with_vector: WithVector = False,
    fields: Fields = None,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Find the points nearest to a vector, or those of a query in Qdrant's grammar, best first.

    --vector-json also takes a sparse vector, {"indices": [3, 17], "values": [0.5, 0.1]}, and a list of vectors for a
    multivector.

    \b
    memq query -c memories --vector-json '[0.1, 0.2, 0.3]' --limit 3
    memq query -c memories --like 5a1f0d3e-7c42-4b8e-9d16-2e8b6f4c9a70 --fields text,user
    embed "where do I live?" | memq query -c memories --vector -
    memq query -c memories --vector q.npy --filter '{"must": [{"key": "user", "match": {"value": "u03"}}]}' --json
    memq query -c memories --query '{"recommend": {"positive": [17, 18], "negative": [3]}}'
    memq query -c memories --query '{"fusion": "rrf"}' --prefetch @both.json --limit 5
    """
    target = Target(url, prefix, timeout, json, tenant)
    if sum(given is not None for given in (vector, vector_json, like, query_)) != 1:
        raise typer.BadParameter("give exactly one of --vector, --vector-json, --like and --query")
    condition = options.json_object(filter_, "--filter")
    near: Any = None
    if vector is not None:
        near = _vector_file(str(vector))
    elif vector_json is not None:
        near = options.json_vector(vector_json, "--vector-json")
    rest: dict[str, Any] = {
        "query": options.json_value(query_, "--query"),
        "prefetch": options.json_value(prefetch, "--prefetch"),
        "params": options.json_object(params, "--params"),
        "group_by": group_by,
        "group_size": group_size,
    }

    async def ask(producer: Producer) -> None:
        wanted, filtered = near, condition
        if like is not None:
            wanted = await _vector_of(producer, collection, like, using)
            filtered = _without(condition, like)
        answer = await producer.query(
            collection,
            wanted,
            limit,
            offset=offset,
            score_threshold=threshold,
            filter=filtered,
            with_payload=options.with_payload(fields),
            with_vector=with_vector,
            using=using,
            **rest,
        )
        group = ["group"] if group_by is not None else []
        rows = (
            [f"{point.score:.4f}", *[str(point.group) for _ in group], *_cells(point, with_vector)] for point in answer
        )
        listing(target, answer, ["score", *group, *_headings(with_vector)], rows)

    run(target, ask)


def get(
    id_: Annotated[list[str], typer.Argument(metavar="ID", help="Integers or UUIDs.")],
    collection: Collection,
    with_vector: WithVector = False,
    fields: Fields = None,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Show points by id. Ids that do not exist are left out.

    \b
    memq get -c notes 17 18 --with-vector --json
    """
    target = Target(url, prefix, timeout, json, tenant)

    async def ask(producer: Producer) -> None:
        answer = await producer.get(
            collection, options.ids(id_), with_payload=options.with_payload(fields), with_vector=with_vector
        )
        listing(target, answer, _headings(with_vector), (_cells(point, with_vector) for point in answer))

    run(target, ask)


def count(
    name: Annotated[
        str | None, typer.Argument(metavar="[COLLECTION]", help="The collection; or give --collection.")
    ] = None,
    collection: Annotated[str | None, typer.Option("--collection", "-c", help="The collection.")] = None,
    filter_: FilterJson = None,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Count the points of a collection, all or those that a filter selects; exact.

    \b
    memq count memories
    memq count -c memories --filter '{"must": [{"key": "user", "match": {"value": "u03"}}]}'
    """
    target = Target(url, prefix, timeout, json, tenant)
    condition = options.json_object(filter_, "--filter")
    if name is not None and collection is not None:
        raise typer.BadParameter("given twice, as COLLECTION and as --collection", param_hint="COLLECTION")
    counted = name or collection
    if counted is None:
        raise typer.BadParameter("missing, as in `memq count notes`", param_hint="COLLECTION")

    async def ask(producer: Producer) -> None:
        answer = await producer.count(counted, filter=condition)
        result(target, answer, str(answer.count))

    run(target, ask)


def facet(
    key: Annotated[str, typer.Argument(help="An indexed payload key.")],
    collection: Collection,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of values.")] = 10,
    exact: Annotated[bool, typer.Option("--exact", help="Count exactly, which takes longer.")] = False,
    filter_: FilterJson = None,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: Tenant = options.TENANT,
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Count the points for each value of a payload key, most frequent first. The key needs an index.

    \b
    memq index create user -c memories --type keyword
    memq facet user -c memories --limit 3
    """
    target = Target(url, prefix, timeout, json, tenant)
    condition = options.json_object(filter_, "--filter")

    async def ask(producer: Producer) -> None:
        answer = await producer.facet(collection, key, limit=limit, exact=exact, filter=condition)
        listing(target, answer, ["count", key], ([str(each.count), str(each.value)] for each in answer.values))

    run(target, ask)


def _vector_file(name: str) -> Any:
    if name == "-":
        return options.json_array(sys.stdin.read(), "--vector")
    if name.lstrip().startswith("["):
        raise typer.BadParameter("expected a file; --vector-json takes the vector itself", param_hint="--vector")
    path = Path(name)
    try:
        if path.suffix == ".npy":
            import numpy as np

            return np.load(path, allow_pickle=False).squeeze()
        return options.json_array(path.read_text(), "--vector")
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror or error}", param_hint="--vector") from None
    except ValueError as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="--vector") from None


async def _vector_of(producer: Producer, collection: str, like: str, using: str | None) -> Any:
    answer = await producer.get(collection, options.ids([like]), with_payload=False, with_vector=True)
    if not answer.points:
        raise InvalidRequest(f"--like {like}: no such point in {collection}")
    vector = answer.points[0].vector
    if isinstance(vector, dict):
        if using not in vector:
            raise InvalidRequest(f"--like {like}: name one of its vectors with --using: {', '.join(vector)}")
        return vector[using]
    return vector


def _without(condition: dict[str, Any] | None, like: str) -> dict[str, Any]:
    """The filter, and not the point itself: nothing is nearer to it."""
    itself = {"must_not": [{"has_id": options.ids([like])}]}
    return itself if condition is None else {"must": [condition], **itself}


def _headings(with_vector: bool) -> list[str]:
    return ["id", "payload", *(["vector"] if with_vector else [])]


def _cells(point: Record, with_vector: bool) -> list[str]:
    payload = "" if point.payload is None else compact(point.payload)
    return [str(point.id), payload, *([compact(point.vector)] if with_vector else [])]
