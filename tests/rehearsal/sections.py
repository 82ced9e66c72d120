"""The sections of the runbook page: the commands of each, as they are written."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "runbooks.md"
COMMAND_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Answer:
    """One command, its exit code, and everything that it printed."""

    command: str
    code: int
    text: str


def sections() -> dict[str, list[str]]:
    """Return the command lines in the `sh` blocks of each section, by alert."""
    found: list[tuple[str, str]] = re.findall(r"(?ms)^## (\w+)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"))
    return {name: _commands(text) for name, text in found}


def _commands(text: str) -> list[str]:
    blocks: list[str] = re.findall(r"(?ms)^```sh\n(.*?)^```", text)
    return "\n".join(blocks).splitlines()


def run(command: str, environ: Mapping[str, str]) -> Answer:
    """Run one line in a shell. Raises TimeoutExpired after 90 s."""
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return Answer(command, done.returncode, done.stdout + done.stderr)
