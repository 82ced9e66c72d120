"""Check that measured figures are in one place, each with the command that measured it.

python -m docs.figures    exits 1 and names every offence

A measured figure is a number with a unit of time below a second, of throughput, or a ratio. Such figures are on the
page Performance and, as values of panels, on the page Dashboards. Every section that has some names a command of this
repository. Limits that a program has, such as an objective, are listed in LIMITS.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("*.md", "schemas/*.md", "data/*.md", "docs/**/*.md")
HOMES = ("docs/reference/performance.md", "docs/reference/dashboards.md")
LIMITS = {"200 ms": "the objective of a request"}
_NUMBER = r"\d[\d,.]*"
_NOUN = r"(?:points|messages|vectors|queries|requests|writes|upserts)"
FIGURE = re.compile(
    rf"{_NUMBER}\s?(?:(?:ns|µs|us|ms)\b|{_NOUN}(?:/s| per second| a second)|[kM]?/s\b"
    rf"|(?:×|x|times)\s(?:as|less|more|faster|slower|the CPU|memq))"
)
COMMAND = re.compile(r"`(scripts/\w+|python -m ([\w.]+))[^`]*`")


def offences() -> list[str]:
    """Return every measured figure that stands in a wrong place, or in a section without its command."""
    found: list[str] = []
    for path in sorted({path for pattern in DOCUMENTS for path in ROOT.glob(pattern)}):
        name = str(path.relative_to(ROOT))
        text = path.read_text("utf-8")
        found += [f"{name}: {each}" for each in (unnamed(text) if name in HOMES else misplaced(text))]
    return found


def misplaced(text: str) -> Iterator[str]:
    """Return the measured figures of a page that should have none."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in FIGURE.finditer(line):
            if match[0] not in LIMITS:
                yield f"line {number}: {match[0]}: a measured figure; move it to {HOMES[0]} and link to it"


def unnamed(text: str) -> Iterator[str]:
    """Return the sections of a page that have measured figures and name no command, or one that does not exist."""
    for section in re.split(r"(?m)^(?=## )", text):
        title = section.partition("\n")[0]
        commands = COMMAND.findall(section)
        if FIGURE.search(section) and not commands:
            yield f"{title}: measured figures without the command that measures them"
        for command, module in commands:
            if not _exists(command, module):
                yield f"{title}: no command {command}"


def _exists(command: str, module: str) -> bool:
    place = ROOT / (module.replace(".", "/") if module else command)
    return place.exists() or place.with_suffix(".py").exists()


def main() -> int:
    found = offences()
    for offence in found:
        sys.stderr.write(f"{offence}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
