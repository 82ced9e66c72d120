"""The README says what is true: its settings are the settings, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memq_worker.cli import _shown
from memq_worker.settings import INTERNAL, Settings, flag, variable

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "schemas/README.md",
    *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
]


def settings_table() -> str:
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        if field.description == INTERNAL:
            continue
        if field.default_factory is not None:
            default = "host name and process id"
        else:
            default = "" if field.default is None else f"`{_shown(field.default)}`"
        rows.append(f"| `{variable(name)}` | {default} | {field.description} |")
    return "\n".join(rows)


def test_the_table_of_settings_is_the_settings() -> None:
    written = re.search(
        r"<!-- settings -->\n(.*)<!-- /settings -->", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )
    assert written is not None
    assert written[1].strip() == settings_table(), f"put this there:\n{settings_table()}"


def test_the_flag_that_the_readme_names_is_one() -> None:
    assert flag("data_dir") == "--data-dir"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    place = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", place.read_text("utf-8")):
        if "://" not in target:
            assert (place.parent / target).exists(), f"{page} links to {target}"
