"""The options that choose dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import typer

from memq.dead import Selection, attempts, duration
from memq.dead.letter import UNKNOWN
from memq_schemas import Operation
from memq_schemas.tenants import TenantNames
from memq_schemas.topology import DEFAULT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

Codes: TypeAlias = Annotated[
    list[str] | None, typer.Option("--code", metavar="CODE", help="With this error code; repeatable.")
]
Ops: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--op", metavar="OPERATION", help="upsert, delete, payload or vectors; repeatable."),
]
Collections: TypeAlias = Annotated[
    list[str] | None, typer.Option("--collection", "-c", metavar="NAME", help="For this collection; repeatable.")
]
Queues: TypeAlias = Annotated[
    list[str] | None, typer.Option("--queue", metavar="NAME", help="Failed in this queue, like memq.write.")
]
Ids: TypeAlias = Annotated[
    list[str] | None, typer.Option("--id", metavar="ID", help="With this message id or correlation id.")
]
Tries: TypeAlias = Annotated[
    str | None, typer.Option("--attempts", metavar="N", help="Tried so often: 1, 3+ or 2-5 times.")
]
Older: TypeAlias = Annotated[
    str | None, typer.Option("--older-than", metavar="AGE", help="Failed longer ago than this: 90s, 15m, 2h, 1d12h.")
]
Newer: TypeAlias = Annotated[
    str | None, typer.Option("--newer-than", metavar="AGE", help="Failed not longer ago than this.")
]
OfTenant: TypeAlias = Annotated[
    str,
    typer.Option(
        "--tenant", envvar="MEMQ_TENANT", metavar="NAME", help="Of this tenant; by default of all.", show_default=False
    ),
]
Limit: TypeAlias = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N of them, the oldest in the queue.")
]
Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Read even if RabbitMQ may drop a letter after ten more reads.")
]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Only report the selection.")]


def of_tenant(name: str) -> str | None:
    """Return the tenant of `--tenant`; None without one."""
    if not name:
        return None
    try:
        return TenantNames(DEFAULT_PREFIX, name).tenant
    except ValueError as error:
        raise typer.BadParameter(str(error).removeprefix("tenant: "), param_hint="--tenant") from None


def selection(
    codes: list[str] | None,
    ops: list[str] | None,
    collections: list[str] | None,
    queues: list[str] | None,
    ids: list[str] | None,
    tries: str | None,
    older: str | None,
    newer: str | None,
    tenant: str,
    limit: int | None,
) -> Selection:
    known = [operation.value for operation in Operation] + [UNKNOWN]
    for operation in ops or ():
        if operation not in known:
            raise typer.BadParameter(f"{operation!r} is not one of {', '.join(known)}", param_hint="--op")
    return Selection(
        codes=frozenset(codes or ()),
        operations=frozenset(ops or ()),
        collections=frozenset(collections or ()),
        queues=frozenset(queues or ()),
        ids=frozenset(ids or ()),
        tenants=frozenset(filter(None, (of_tenant(tenant),))),
        attempts=_parsed(attempts, tries, "--attempts"),
        older_than=_parsed(duration, older, "--older-than"),
        newer_than=_parsed(duration, newer, "--newer-than"),
        limit=limit,
    )


def _parsed(parse: Callable[[str], T], text: str | None, option: str) -> T | None:
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint=option) from None
