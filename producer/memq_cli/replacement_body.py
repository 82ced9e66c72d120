"""Corrected body of a dead letter: from a file, or from an editor."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from memq.errors import InvalidRequest

if TYPE_CHECKING:
    from memq.dead import Selection
    from memq.producer import Producer

EDITOR = "vi"


def read(name: str) -> bytes:
    """Return the content of a file; - is standard input."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{name}: {error.strerror or error}", param_hint="--body") from None


async def edited(producer: Producer, chosen: Selection) -> bytes:
    """Return the body of the letter after its user has edited it.

    Raises InvalidRequest if there is no such letter, if its body is compressed, if the editor fails, and if the body is
    unchanged.
    """
    (wanted,) = chosen.ids
    letter = await producer.dead.find(wanted, tenant=next(iter(chosen.tenants), None))
    if letter is None:
        raise InvalidRequest(f"--id {wanted}: no such dead letter")
    if letter.properties.get("content_encoding"):
        raise InvalidRequest(f"--id {wanted}: the body is compressed; send a corrected one with --body FILE")
    before = letter.body or b""
    after = await asyncio.to_thread(_edit, before)
    if after == before:
        raise InvalidRequest("the body is unchanged, nothing sent")
    return after


def _edit(body: bytes) -> bytes:
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or EDITOR
    with tempfile.NamedTemporaryFile(prefix="memq-", suffix=".json") as file:
        file.write(body)
        file.flush()
        try:
            status = subprocess.run([*shlex.split(command), file.name], check=False).returncode
        except OSError as error:
            raise InvalidRequest(f"editor {command}: {error.strerror or error}") from None
        if status:
            raise InvalidRequest(f"editor {command}: exit status {status}, nothing sent")
        # An editor may have put a new file in the place of this one.
        return Path(file.name).read_bytes()
