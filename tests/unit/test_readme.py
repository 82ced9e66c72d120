"""The documents say what is true: generated pages are current, links lead somewhere, README stays short."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs import figures, generate, prose
from memq_worker.settings import INTERNAL, Settings, flag, variable

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "schemas/README.md",
    *(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
]
README_LINES = 150


def test_generated_pages_are_current() -> None:
    stale = [path.name for path, text in generate.generated().items() if path.read_text("utf-8") != text]
    assert stale == [], "run python -m docs.generate"


def test_the_page_of_settings_has_every_setting_with_its_flag() -> None:
    page = generate.settings()
    for name, field in Settings.model_fields.items():
        assert (f"| `{variable(name)}` | `{flag(name)}` |" in page) == (field.description != INTERNAL)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    place = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", place.read_text("utf-8")):
        if "://" not in target and target != "reference/wire.md" and not target.endswith("/wire.md"):
            assert (place.parent / target).exists(), f"{page} links to {target}"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= README_LINES


def test_the_site_builds_and_a_broken_link_fails_it(tmp_path: Path) -> None:
    mkdocs = Path(sys.executable).with_name("mkdocs")
    for name in ("docs", "schemas", "mkdocs.yml", "README.md"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    build = [mkdocs, "build", "--strict", "--site-dir", tmp_path / "site"]
    # The repository's other files are what some links of the copy lead to.
    for name in (
        "prometheus",
        "grafana",
        "rabbitmq",
        "producer",
        "worker",
        "tests",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "data",
        "scripts",
        "LICENSE",
    ):
        (tmp_path / name).symlink_to(ROOT / name)
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "reference" / "wire" / "index.html").is_file()
    (tmp_path / "docs" / "index.md").write_text("[gone](reference/gone.md)\n", "utf-8")
    assert subprocess.run(build, cwd=tmp_path, capture_output=True, check=False).returncode != 0


def test_prose_checks_can_fail() -> None:
    assert prose.FIRST_WORDS.match("What a worker is.")
    assert not prose.FIRST_WORDS.match("Return the worker.")
    assert any(re.search(phrase, "A consumer that begins anew") for phrase in prose.PHRASES)


def test_the_map_of_contributing_names_every_package() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    packages = {path.parent for path in ROOT.glob("*/memq*/__init__.py")}
    assert len(packages) >= 6
    for package in packages:
        assert f"`{package.relative_to(ROOT)}`" in text, package


def test_measured_figures_are_in_one_place_with_their_command() -> None:
    assert figures.offences() == []


@pytest.mark.parametrize(
    "line", ["p99 is 124 ms", "12.5 µs a point", "20,180 points per second", "1,972/s", "3.7× less", "4 times the CPU"]
)
def test_a_figure_on_another_page_is_found(line: str) -> None:
    assert list(figures.misplaced(f"# Ordering\n\n{line}\n"))


def test_a_figure_without_its_command_is_found() -> None:
    assert list(figures.unnamed("# Performance\n\n## Queries\n\nA query takes 4.6 ms.\n"))
    assert list(figures.unnamed("## Queries\n\n`scripts/stopwatch` measured 4.6 ms.\n"))
    assert not list(figures.unnamed("## Queries\n\n`scripts/bench --only questions` measured 4.6 ms.\n"))


def test_limits_are_no_figures() -> None:
    assert not list(figures.misplaced("Messages of 8 MiB, a timeout of 30 s, an objective of 200 ms, 5 attempts.\n"))
