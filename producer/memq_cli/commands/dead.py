from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memq.dead import Tally
from memq.errors import InvalidRequest, Unroutable
from memq_cli import choice, letters, options, replacement_body
from memq_cli.options import Json, Prefix, Target, Timeout, Url
from memq_cli.output import confirmed, emit, notice, say, table
from memq_cli.run import run
from memq_cli.walk_progress import WalkProgress

if TYPE_CHECKING:
    from memq.dead import DeadLetter, Listing
    from memq.producer import Producer

HELP = """List, show, replay and purge dead letters.

A message that no worker could apply ends in the dead-letter queue, with the reason. Nothing expires there.

\b
memq dead list                                   the letters and their reasons
memq dead show 1                                 the first of them whole
memq dead replay --code wrong_dimension --dry-run
memq dead replay -c docs --newer-than 2h         send these again
memq dead purge --older-than 30d                 remove these for good

While one of these commands runs, others do not see the letters that it has walked past; when it ends, however it ends,
those that it has not sent again or removed are back in their places.
"""

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help=HELP)


@app.command("list")
def list_(
    codes: choice.Codes = None,
    ops: choice.Ops = None,
    collections: choice.Collections = None,
    queues: choice.Queues = None,
    ids: choice.Ids = None,
    tries: choice.Tries = None,
    older: choice.Older = None,
    newer: choice.Newer = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Letters to show at most; all are counted.")] = 100,
    force: choice.Force = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: choice.OfTenant = "",
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """List dead letters, those that came first at the top, and count them by code.

    \b
    memq dead list
    memq dead list --code store_error --attempts 5+ --newer-than 1d
    memq dead list -c docs --limit 1000 --json
    """
    target = Target(url, prefix, timeout, json)
    chosen = choice.selection(codes, ops, collections, queues, ids, tries, older, newer, tenant, limit)

    async def look(producer: Producer) -> None:
        with WalkProgress("looking") as progress:
            listing = await producer.dead.list(chosen, force=force, progress=progress)
        _list(target, listing)

    run(target, look)


@app.command()
def show(
    which: Annotated[str, typer.Argument(metavar="N|ID", help="Its number in the list, or its message id.")],
    body: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the body there, byte for byte; - for standard output.")
    ] = None,
    force: choice.Force = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: choice.OfTenant = "",
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Show one dead letter: headers, properties, and the body with long parts cut.

    \b
    memq dead show 3
    memq dead show 5f0c3e3a0b2d4c55a8d8f3a9f3b0c1de --body letter.json
    memq dead show 3 --body - | jq .points[0].id
    """
    target = Target(url, prefix, timeout, json)
    of = choice.of_tenant(tenant)
    wanted = int(which) if which.isascii() and which.isdigit() else which

    async def look(producer: Producer) -> None:
        with WalkProgress("looking") as progress:
            found = await producer.dead.find(wanted, tenant=of, force=force, progress=progress)
        if found is None:
            whose = "" if of is None else f" of tenant {of}"
            raise InvalidRequest(f"no dead letter {which}{whose}: look with `memq dead list`")
        if body is not None:
            await asyncio.to_thread(_save, str(body), found.body or b"")
        if json:
            emit(letters.whole(found))
        elif str(body) != "-":
            _show(found)

    run(target, look)


@app.command()
def replay(
    codes: choice.Codes = None,
    ops: choice.Ops = None,
    collections: choice.Collections = None,
    queues: choice.Queues = None,
    ids: choice.Ids = None,
    tries: choice.Tries = None,
    older: choice.Older = None,
    newer: choice.Newer = None,
    limit: choice.Limit = None,
    body: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Send this body instead, not compressed; needs one --id.")
    ] = None,
    edit: Annotated[bool, typer.Option("--edit", help="Edit the body in $VISUAL or $EDITOR; needs one --id.")] = False,
    dry_run: choice.DryRun = False,
    force: choice.Force = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: choice.OfTenant = "",
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Send dead letters again, under their routing keys and with no attempts spent. Without options: all.

    A letter leaves the dead-letter queue when the broker has confirmed its copy, so an interruption loses nothing; a
    few letters may be sent twice, which does no harm.

    \b
    memq dead replay --id 5f0c3e3a0b2d4c55 --edit           correct it and send it
    memq dead show 5f0c3e3a0b2d4c55 --body - | jq '.points[0].vector += [0]' |
      memq dead replay --id 5f0c3e3a0b2d4c55 --body -
    memq dead replay --code unknown_collection -c docs      after `memq collections create docs`
    memq dead replay --op upsert --newer-than 2h --dry-run
    memq dead replay --limit 1                              try one first
    """
    target = Target(url, prefix, timeout, json)
    chosen = choice.selection(codes, ops, collections, queues, ids, tries, older, newer, tenant, limit)
    if (body is not None or edit) and len(ids or ()) != 1:
        raise typer.BadParameter("needs exactly one --id", param_hint="--edit" if edit else "--body")
    given = None if body is None else replacement_body.read(str(body))
    tally = Tally()

    async def send(producer: Producer) -> None:
        replaced = await replacement_body.edited(producer, chosen) if edit else given
        with WalkProgress("looking" if dry_run else "replaying") as progress:
            await producer.dead.replay(
                chosen, body=replaced, dry_run=dry_run, force=force, progress=progress, tally=tally
            )
        _report(target, tally, "would be sent again" if dry_run else "sent again", dry_run)
        if tally.unroutable:
            raise Unroutable(f"{tally.unroutable:,} stay in the dead-letter queue: {tally.unroutable_reason}")

    def summary() -> str | None:
        return None if dry_run or tally.unroutable else f"before that {tally.done:,} were sent again; nothing is lost"

    run(target, send, after_failure=summary)


@app.command()
def purge(
    codes: choice.Codes = None,
    ops: choice.Ops = None,
    collections: choice.Collections = None,
    queues: choice.Queues = None,
    ids: choice.Ids = None,
    tries: choice.Tries = None,
    older: choice.Older = None,
    newer: choice.Newer = None,
    limit: choice.Limit = None,
    dry_run: choice.DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: choice.Force = False,
    json: Json = False,
    url: Url = options.URL,
    prefix: Prefix = options.PREFIX,
    tenant: choice.OfTenant = "",
    timeout: Timeout = options.TIMEOUT,
) -> None:
    """Remove dead letters for good. Without options: all. Asks before it does, naming their number.

    \b
    memq dead purge --code malformed --dry-run
    memq dead purge --older-than 30d
    memq dead purge -c old_collection --yes
    """
    target = Target(url, prefix, timeout, json)
    chosen = choice.selection(codes, ops, collections, queues, ids, tries, older, newer, tenant, limit)
    if not (yes or dry_run or (sys.stdin.isatty() and sys.stderr.isatty())):
        raise typer.BadParameter("no terminal to confirm on: give --yes, or --dry-run to see the selection")

    tally = Tally()

    async def remove(producer: Producer) -> None:
        with WalkProgress("looking" if dry_run else "purging") as progress:

            async def approve(_: Tally) -> bool:
                progress.stop()
                summary = f"{tally.selected:,} of {tally.walked:,} dead letters ({letters.codes(tally)})"
                return await confirmed(f"memq: remove {summary} for good?")

            await producer.dead.purge(
                chosen,
                dry_run=dry_run,
                force=force,
                approve=None if yes else approve,
                progress=progress,
                tally=tally,
            )
        _report(target, tally, "would be removed" if dry_run else "removed", dry_run)

    run(target, remove, after_failure=lambda: f"before that {tally.done:,} were removed" if tally.done else None)


def _list(target: Target, listing: Listing) -> None:
    tally = listing.tally
    if target.json:
        emit({"letters": [letters.outline(letter) for letter in listing.letters], **_counts(tally)})
        return
    now = datetime.now(UTC)
    table(letters.HEADINGS, [letters.row(letter, now) for letter in listing.letters])
    shown = len(listing.letters)
    more = f", {shown:,} shown (--limit shows more)" if shown < tally.selected else ""
    summary = f": {letters.codes(tally)}" if tally.selected else ""
    notice(f"memq: {tally.selected:,} of {tally.walked:,} dead letters{more}{summary}")


def _show(letter: DeadLetter) -> None:
    whole = letters.whole(letter)
    sections = {name: whole.pop(name) for name in ("properties", "headers", "body")}
    say(letters.pretty({name: letters.plain(value) for name, value in whole.items() if value is not None}))
    for name, value in sections.items():
        say(f"\n{name}")
        say("\n".join(f"  {line}" for line in letters.pretty(value).splitlines()))


def _save(name: str, body: bytes) -> None:
    if name == "-":
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return
    try:
        Path(name).write_bytes(body)
    except OSError as error:
        raise InvalidRequest(f"--body {name}: {error.strerror or error}") from None


def _report(target: Target, tally: Tally, what: str, dry_run: bool) -> None:
    if target.json:
        emit({**_counts(tally), "dry_run": dry_run, "done": tally.done, "unroutable": tally.unroutable})
        return
    number = tally.selected if dry_run else tally.done
    summary = f": {letters.codes(tally)}" if tally.selected else ""
    say(f"{number:,} of {tally.walked:,} dead letters {what}{summary}")


def _counts(tally: Tally) -> dict[str, object]:
    return {
        "depth": tally.depth,
        "walked": tally.walked,
        "selected": tally.selected,
        "codes": letters.plain(tally.codes),
    }
