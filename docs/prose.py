"""Check the prose of the repository: docstrings, help texts, documents, commit subjects.

python -m docs.prose    exits 1 and names every offence
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
CODE = ("schemas", "transport", "producer", "worker", "stack", "grafana", "docs")
FIRST_WORDS = re.compile(
    r"(What|Who|Whoever|Which|Whether|How|That|Those|As|Until|Once|By|From|Of|With|After|For|In|To|At|On|About)\b"
)
SHARE = 0.03  # of the docstrings may begin with one of these
SUBJECTS_AFTER = "c88cc5f"
SUBJECT = 72  # characters
PHRASES = {
    r"\banew\b": "again",
    r"\bas it were\b": "",
    r"\bwhoever\b": "name the actor",
    r"\bis told\b": "is reported",
    r"\bhand(s|ed)? back\b": "release",
    r"\blets? go\b": "release",
    r"\bfor ever\b": "without end",
    r"\bis of no\b": "has no",
    r"\bmade up\b": "generated",
    r"\bpatience\b": "timeout",
}
DOCUMENTS = ("README.md", "docs/**/*.md", "schemas/README.md")


@dataclass(frozen=True, slots=True)
class Offence:
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def docstrings() -> Iterator[tuple[str, str]]:
    """Every docstring with its place."""
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    text = ast.get_docstring(node)
                    if text:
                        line = node.body[0].lineno
                        yield f"{path.relative_to(ROOT)}:{line}", text


def openings() -> tuple[list[Offence], int]:
    """Docstrings that begin with a preposition or a relative pronoun, and the number of all docstrings."""
    found = list(docstrings())
    wrong = [Offence(place, text.splitlines()[0]) for place, text in found if FIRST_WORDS.match(text)]
    return wrong, len(found)


def phrases() -> list[Offence]:
    """Phrases in documents that have a plain word."""
    found: list[Offence] = []
    for pattern in DOCUMENTS:
        for path in sorted(ROOT.glob(pattern)):
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                found += [
                    Offence(f"{path.relative_to(ROOT)}:{number}", f"{match[0]!r}: {instead or 'leave it out'}")
                    for phrase, instead in PHRASES.items()
                    # A heading of the generated pages may be the name of a module.
                    if not line.startswith("## memq") and (match := re.search(phrase, line, re.IGNORECASE))
                ]
    return found


def subjects() -> list[Offence] | None:
    """Commit subjects that are too long; None where the history does not reach back far enough."""
    log = subprocess.run(
        ["git", "log", "--no-merges", "--format=%h %s", f"{SUBJECTS_AFTER}..HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if log.returncode:
        return None
    commits = [line.partition(" ") for line in log.stdout.splitlines()]
    return [Offence(commit, f"{len(subject)} characters: {subject}") for commit, _, subject in commits
            if len(subject) > SUBJECT]  # fmt: skip


def main() -> int:
    wrong, total = openings()
    offences = wrong if len(wrong) > SHARE * total else []
    share = f"docstrings that begin with a preposition or a relative pronoun: {len(wrong)} of {total}"
    sys.stderr.write(f"{share} ({len(wrong) / total:.1%}, at most {SHARE:.0%})\n")
    long = subjects()
    if long is None:
        sys.stderr.write(f"commit subjects: skipped, commit {SUBJECTS_AFTER} is not in this clone\n")
    offences += phrases() + (long or [])
    for offence in offences:
        sys.stderr.write(f"{offence}\n")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
