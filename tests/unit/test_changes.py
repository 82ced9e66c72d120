"""Which tests a change touches."""

from __future__ import annotations

import pytest

from tests.support.changes import ROOT, touched
from tests.support.git import git


@pytest.fixture(autouse=True)
def _git() -> None:
    """Skip where there is no git, which lists the files."""
    git("--version")


TESTS = set((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize(
    ("changed", "some", "none"),
    [
        ("worker/memq_worker/pipeline/batch.py", "unit/worker/test_batch.py", "unit/producer/test_arrow.py"),
        ("worker/memq_worker/pipeline/batch.py", "integration/test_worker.py", "contract/test_writes.py"),
        ("worker/memq_engine/server.py", "contract/test_writes.py", "unit/producer/test_arrow.py"),
        ("producer/memq_cli/upload.py", "acceptance/test_upload.py", "unit/worker/test_batch.py"),
        ("README.md", "acceptance/test_readme.py", "unit/worker/test_batch.py"),
        ("docs/tutorial.md", "unit/test_document_commands.py", "unit/worker/test_batch.py"),
        ("docs/how-to/tenants.md", "unit/test_document_commands.py", "unit/worker/test_batch.py"),
        ("docs/how-to/tenants.md", "unit/test_readme.py", "unit/worker/test_acks.py"),
        ("producer/memq_cli/units.py", "unit/test_house.py", "unit/worker/test_batch.py"),
        ("scripts/demo", "acceptance/test_demo.py", "unit/worker/test_batch.py"),
        ("stack/node.py", "integration/test_node.py", "unit/worker/test_batch.py"),
        ("tests/integration/conftest.py", "integration/test_worker.py", "unit/worker/test_batch.py"),
        ("tests/unit/worker/test_batch.py", "unit/worker/test_batch.py", "unit/worker/test_acks.py"),
    ],
)
def test_a_change_touches_what_imports_runs_or_names_it(changed: str, some: str, none: str) -> None:
    found = touched([changed])
    assert ROOT / "tests" / some in found
    assert ROOT / "tests" / none not in found
    assert {ROOT / "tests" / some, ROOT / "tests" / none} <= TESTS


def test_a_change_to_what_everything_stands_on_touches_everything() -> None:
    assert touched(["pyproject.toml"]) == TESTS
    assert touched([]) == set()
