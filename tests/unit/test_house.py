"""The sizes that a module and a function may have, so that each can be read at once."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = {"producer/memq/blocking.py"}
MODULES = sorted(
    str(path.relative_to(ROOT))
    for package in ("schemas", "transport", "producer", "worker", "stack", "grafana", "docs")
    for path in (ROOT / package).rglob("*.py")
)
MOST_LINES = 300
MOST_LINES_OF_A_BODY = 60


@pytest.mark.parametrize("name", sorted(set(MODULES) - GENERATED))
def test_a_module_and_its_functions_are_short(name: str) -> None:
    text = (ROOT / name).read_text()
    assert len(text.splitlines()) <= MOST_LINES, f"{name}: split it by the nouns it holds"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # Without the signature: a command declares its options there.
            lines = (node.end_lineno or 0) - node.body[0].lineno + 1
            assert lines <= MOST_LINES_OF_A_BODY, f"{name}: {node.name} has {lines} lines"


def test_every_package_is_looked_at() -> None:
    assert set(MODULES) > GENERATED
    assert len(MODULES) > len(GENERATED) + 200
