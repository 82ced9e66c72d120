"""The test files that a change touches: by imports, by commands that they run, and by files that they name or list."""

from __future__ import annotations

import ast
import subprocess
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
# Where packages of ours begin. Longest first: a file belongs to the deepest.
SOURCES = ("schemas", "transport", "producer", "worker", "")
# Programs that a file starts instead of importing them.
RUNS = {
    "scripts/demo": ["stack.demo"],
    "scripts/serve": ["stack.serve"],
    "tests/support/command.py": ["memq_cli.app"],
    "tests/support/engine.py": ["memq_engine.__main__"],
    "tests/support/worker.py": ["memq_worker.cli"],
    # It imports a command's module when the command is run.
    "producer/memq_cli/app.py": [
        f"memq_cli.commands.{path.stem}" for path in (ROOT / "producer/memq_cli/commands").glob("*.py")
    ],
}
# The fixture of the root's conftest that brings up a program of the repository.
SERVER = "server"
# A change to one of these may touch anything.
EVERYWHERE = ("pyproject.toml", "requirements-dev.lock", "requirements.lock", "tests/conftest.py", "scripts/test")


def changed_files(base: str) -> set[str]:
    """Files that differ from where the branch left `base`, new ones among them."""
    fork = _git("merge-base", "HEAD", base)[0]
    return {*_git("diff", "--name-only", fork), *_git("ls-files", "--others", "--exclude-standard")}


def touched(changed: Iterable[str]) -> set[Path]:
    """The test files, absolute, that one of the `changed` files, relative to the repository, may make fail."""
    changed = set(changed)
    tests = set((ROOT / "tests").rglob("test_*.py"))
    if changed.intersection(EVERYWHERE):
        return tests
    return {test for test in tests if changed & _reached(test)}


@cache
def _reached(test: Path) -> frozenset[str]:
    """Everything that a test file depends on, itself included, relative to the repository."""
    reached: set[str] = set()
    fixtures = [folder / "conftest.py" for folder in test.parents if (ROOT / "tests") in folder.parents]
    waiting = {test, *filter(Path.exists, fixtures), *_listed(test)}
    while waiting:
        path = waiting.pop()
        reached.add(str(path.relative_to(ROOT)))
        waiting |= {needed for needed in _needs(path) if str(needed.relative_to(ROOT)) not in reached}
    return frozenset(reached)


def _listed(test: Path) -> set[Path]:
    """The files that a test lists: those in the folders and of the patterns that it names, if it searches ROOT."""
    nodes = list(ast.walk(ast.parse(test.read_text("utf-8"))))
    searches = [each for each in nodes if isinstance(each, ast.Attribute) and each.attr in ("glob", "rglob")]
    if not any(isinstance(name, ast.Name) and name.id == "ROOT" for each in searches for name in ast.walk(each.value)):
        return set()
    texts = {each.value for each in nodes if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    folders = tuple(f"{text}/" for text in texts if text and (ROOT / text).is_dir())
    # fnmatch lets * stand for folders too.
    patterns = [text.replace("**/", "*") for text in texts if "*" in text and "\n" not in text]
    return {
        ROOT / line
        for line in _git("ls-files")
        for pattern in patterns
        if fnmatch(line, pattern if "/" in pattern else f"*{pattern}")
        and ("/" in pattern or not folders or line.startswith(folders))
    }


@cache
def _needs(path: Path) -> frozenset[Path]:
    """The files that one imports, runs or names."""
    needed = {file for module in RUNS.get(str(path.relative_to(ROOT)), ()) for file in _files_of(module)}
    if path.suffix != ".py":
        return frozenset(needed)
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        for module in _imported(node, path):
            needed |= _files_of(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            needed |= _tracked().get(Path(node.value).name, frozenset()) if len(node.value) < 200 else frozenset()
        elif isinstance(node, ast.arg) and node.arg == SERVER:
            needed |= _files_of("stack.broker")
    return frozenset(needed)


def _imported(node: ast.AST, path: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom):
        # Relative to the package for each dot beyond the first; absolute ones have none.
        package = _module(path).split(".")
        start = [] if not node.level else package[: len(package) - node.level + (path.name == "__init__.py")]
        base = ".".join([*start, *filter(None, [node.module])])
        yield base
        yield from (f"{base}.{name.name}" for name in node.names)


def _module(path: Path) -> str:
    source = next(ROOT / source for source in SOURCES if path.is_relative_to(ROOT / source))
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")


@cache
def _files_of(module: str) -> frozenset[Path]:
    """The module's own file and the __init__ files that its import runs. Empty for others' modules."""
    parts = module.split(".")
    found: set[Path] = set()
    for source in SOURCES:
        place = ROOT / source
        for number in range(1, len(parts) + 1):
            for end in ("/__init__.py", ".py"):
                file = place / ("/".join(parts[:number]) + end)
                if file.is_file():
                    found.add(file)
    return frozenset(found)


@cache
def _tracked() -> dict[str, frozenset[Path]]:
    """Files that are no Python, by name: README.md, alerts.yml, scripts/demo as demo."""
    byname: dict[str, frozenset[Path]] = {}
    for line in _git("ls-files"):
        path = ROOT / line
        if path.suffix != ".py" and (path.suffix or path.parent.name == "scripts" or path.name == "Dockerfile"):
            byname[path.name] = byname.get(path.name, frozenset()) | {path}
    return byname


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()
