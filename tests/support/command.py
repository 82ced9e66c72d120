"""The installed `memq` command, run to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.broker import Address

MEMQ = str(Path(sys.executable).with_name("memq"))
SECONDS = 60


class Memq:
    def __init__(self, address: Address, state: Path | None = None) -> None:
        """state: where uploads that are interrupted leave their checkpoints."""
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")},
            "MEMQ_AMQP_URL": address.url,
            **({} if state is None else {"XDG_STATE_HOME": str(state)}),
        }
        self.prefix = address.prefix

    def __call__(self, *arguments: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
        line = self.line(*arguments)
        return subprocess.run(
            line, env=self.environ, input=text, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def line(self, *arguments: object) -> list[str]:
        return [MEMQ, *map(str, arguments), "--prefix", self.prefix]

    def ok(self, *arguments: object, text: str | None = None) -> str:
        done = self(*arguments, text=text)
        assert (done.returncode, "\x1b" in done.stdout + done.stderr) == (0, False), done.stderr
        return done.stdout

    def json(self, *arguments: object, text: str | None = None) -> Any:
        return json.loads(self.ok(*arguments, "--json", text=text))

    def fails(self, code: int, *arguments: object, text: str | None = None) -> str:
        done = self(*arguments, text=text)
        assert (done.returncode, done.stdout) == (code, ""), (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stderr
