"""Clients in Go and Java whose types quicktype makes of the schemas alone, against a worker; and AsyncAPI's generators.

They need npm, go, a JDK with Maven, and their registries. Nothing that is generated is kept.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.worker import running_worker

if TYPE_CHECKING:
    from tests.support.broker import Address

pytestmark = [pytest.mark.acceptance, pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parent.parent.parent
FOREIGN = ROOT / "tests/foreign"
TYPES = ROOT / "schemas/json/types.json"
ASYNCAPI = ROOT / "schemas/asyncapi.json"
# What npm, go and Maven say when it is the network that is missing.
AWAY = (
    "ENOTFOUND",
    "ECONNREFUSED",
    "ETIMEDOUT",
    "EAI_AGAIN",
    "dial tcp",
    "no such host",
    "Unknown host",
    "Could not transfer",
)

COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # Maven ends its output with one, whoever reads it

OUTPUT = """\
created 200 true
upserted 3
count 2
hit 3aec9f96-379f-553d-9acb-30de5460498c 1.00 de version 7
updated 1
point 1 1 true 2
deleted by filter true
left 2
refused 422 invalid
refused 422 wrong_dimension
"""


def run(*command: str | Path, at: Path, **environ: str) -> str:
    """The output. A command that is not there, or cannot reach its registry, skips the test."""
    program = shutil.which(str(command[0]))
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        [program, *map(str, command[1:])],
        cwd=at,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    said = done.stdout + done.stderr
    if done.returncode and any(word in said for word in AWAY):
        pytest.skip(f"{command[0]} cannot reach its registry")
    assert done.returncode == 0, f"{command[0]}: {said[-4000:]}"
    return COLOURS.sub("", done.stdout)


@pytest.fixture(scope="module")
def generators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the generators of the lock file."""
    place = tmp_path_factory.mktemp("generators")
    for name in ("package.json", "package-lock.json", "models.mjs", "page.mjs"):
        shutil.copy(FOREIGN / name, place)
    run("npm", "ci", "--no-audit", "--no-fund", at=place)
    return place


def generated(generators: Path, language: str, package: str, out: Path) -> None:
    source = f"{TYPES}#/$defs/"
    options = ("--quiet", "--lang", language, "--src-lang", "schema", "--package", package, "--out", out, source)
    run(generators / "node_modules/.bin/quicktype", *options, at=generators)


def test_a_client_in_go(generators: Path, amqp: Address, tmp_path: Path) -> None:
    place = tmp_path / "go"
    shutil.copytree(FOREIGN / "go", place)
    generated(generators, "go", "main", place / "types.go")
    run("go", "vet", ".", at=place)
    run("go", "build", "-o", "client", ".", at=place)
    with running_worker(amqp, data_dir=tmp_path / "data"):
        assert run(place / "client", "docs", at=place, AMQP_URL=amqp.url) == OUTPUT


def test_a_client_in_java(generators: Path, amqp: Address, tmp_path: Path) -> None:
    place = tmp_path / "java"
    shutil.copytree(FOREIGN / "java", place)
    types = place / "src/main/java/memq"
    types.mkdir()
    generated(generators, "java", "memq", types / "Types.java")
    run("mvn", "-q", "-B", "compile", at=place)
    with running_worker(amqp, data_dir=tmp_path / "data"):
        assert run("mvn", "-q", "-B", "exec:java", "-Dexec.args=docs", at=place, AMQP_URL=amqp.url) == OUTPUT


def test_models_of_the_asyncapi_document(generators: Path, tmp_path: Path) -> None:
    """The parser that AsyncAPI's tools share finds no fault, and their model generator has every body and reply."""
    run("node", "models.mjs", ASYNCAPI, tmp_path, at=generators)
    made = {path.stem for path in tmp_path.glob("*.java")}
    assert made >= {"Upsert", "Point", "Query", "ScoredPoint", "SetPayload", "Filter", "ErrorReply", "Delete", "Get"}


def test_a_page_of_the_asyncapi_document(generators: Path, tmp_path: Path) -> None:
    """AsyncAPI's generator runs its Markdown template over it, with all operations and both kinds of dead letters."""
    run("node", "page.mjs", ASYNCAPI, tmp_path, at=generators)
    page = (tmp_path / "asyncapi.md").read_text("utf-8")
    for name in ("upsert.{collection}", "collections.list", "memq.dead", "application/vnd.apache.arrow.stream"):
        assert name in page
