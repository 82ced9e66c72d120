"""Access of the broker search to this machine; tests pass another one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Where Debian keeps the real script. The one on PATH is a wrapper that changes to the rabbitmq user and its files.
SERVERS = (Path("/usr/lib/rabbitmq/bin/rabbitmq-server"),)
# Where programs for root are kept, which a normal user's PATH leaves out.
DAEMONS = ("/usr/local/sbin", "/usr/sbin")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Machine:
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    servers: Sequence[Path] = SERVERS
    daemons: Sequence[str] = DAEMONS
    root: bool = field(default_factory=lambda: os.geteuid() == 0)

    def which(self, program: str) -> Path | None:
        found = shutil.which(program, path=os.pathsep.join((self.environ.get("PATH", ""), *self.daemons)))
        return Path(found) if found else None

    def run(self, *args: str | Path, within: float, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(arg) for arg in args],
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
