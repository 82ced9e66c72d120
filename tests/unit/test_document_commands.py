"""Every command line of the documents is one that the installed commands read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperCommand

from memq_cli.app import app as memq
from memq_worker.cli import app as memq_worker

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "schemas/README.md", "data/README.md")
GENERATED = {"docs/reference/commands.md", "docs/reference/messages.md"}
BLOCK = re.compile(r"(?ms)^```(?:sh|console)\n(.*?)^```")
LINE = re.compile(r"(?:^|[;|(]|&&|\|\|)\s*(?:\w+=\S+\s+)*((?:memq|memq-worker)\s[^|;&)#\n]*)")
UsageError: Any = typer.BadParameter.__base__
APPS: dict[str, Any] = {"memq": typer.main.get_command(memq), "memq-worker": typer.main.get_command(memq_worker)}


def lines() -> list[tuple[str, str]]:
    """Return the pages and the commands in their blocks of shell."""
    found: list[tuple[str, str]] = []
    for path in sorted({path for pattern in PAGES for path in ROOT.glob(pattern)}):
        name = str(path.relative_to(ROOT))
        if name in GENERATED:
            continue
        text = path.read_text("utf-8")
        for block in BLOCK.findall(text):
            joined = re.sub(r"\\\n\s*", " ", block)
            joined = re.sub(r'"\$\([^\n]*?\)"|\$\([^\n]*?\)', "VALUE", joined)
            found += [(name, line.strip()) for line in joined.splitlines() for line in LINE.findall(line)]
    return found


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands parse their arguments only."""
    monkeypatch.setattr(TyperCommand, "invoke", lambda *_: None)


def problem(line: str) -> str | None:
    """Return what the command's parser finds wrong; None for a line that it reads."""
    program, *words = shlex.split(re.sub(r"\s[<>]+\s?\S+", "", line))
    try:
        APPS[program].main(words, program, standalone_mode=False)
    except typer.BadParameter as error:
        return None if "does not exist" in error.message else error.format_message()
    except UsageError as error:
        return error.format_message()
    return None


def test_there_are_commands_in_many_documents() -> None:
    assert len({page for page, _ in lines()}) > 5


@pytest.mark.parametrize(("page", "line"), lines(), ids=lambda value: value)
def test_a_command_line_of_a_document_is_read(page: str, line: str) -> None:
    assert problem(line) is None, f"{page}: {line}"


def test_a_wrong_command_line_is_noticed() -> None:
    assert "--collection" in (problem("memq query notes --vector 1") or "")
    assert problem("memq nosuch") is not None
    assert problem("memq count notes --nosuch") is not None


def test_a_vector_in_place_of_its_file_names_the_option_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(typer.BadParameter) as refused:
        APPS["memq"].main(["query", "-c", "notes", "--vector", "[0.1, 0.2]"], "memq", standalone_mode=False)
    assert "--vector-json" in refused.value.message
