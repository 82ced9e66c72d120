"""The README's examples, run as they stand against a real stack."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import Address, own_address
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.broker import Broker

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def stack(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with own_address(broker) as address, running_worker(address, data_dir=tmp_path_factory.mktemp("e") / "data"):
        yield address


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## )", README, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def block(text: str, language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def environ(address: Address) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "MEMQ_AMQP_URL": address.url, "MEMQ_PREFIX": address.prefix}


def test_the_python_example_prints_what_the_readme_says(stack: Address) -> None:
    if stack.prefix != "memq":
        pytest.skip("the example uses the default prefix, and this broker has no virtual host of its own for it")
    example = section("In Python")
    ended = subprocess.run(
        [sys.executable, "-c", block(example, "python")],
        env=environ(stack),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == block(example, "text")
    blocking = re.findall(r"^```python\n(.*?)^```", example, re.DOTALL | re.MULTILINE)[1]
    counted = subprocess.run(
        [sys.executable, "-c", blocking], env=environ(stack), capture_output=True, text=True, timeout=60, check=False
    )
    assert (counted.returncode, counted.stdout, counted.stderr) == (0, "2\n", "")


def test_the_shell_example_works(stack: Address) -> None:
    script = "set -eu\n" + block(section("In the shell"), "sh")
    ended = subprocess.run(
        ["sh", "-c", script], cwd=ROOT, env=environ(stack), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "512" in ended.stdout


def test_the_go_example_works(stack: Address, tmp_path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("no go on this machine")
    if stack.prefix != "memq":
        pytest.skip("the example uses the default prefix, and this broker has no virtual host of its own for it")
    (tmp_path / "main.go").write_text(block(section("In another language"), "go"), "utf-8")
    for line in (["mod", "init", "example"], ["get", "github.com/rabbitmq/amqp091-go@v1.10.0"]):
        done = subprocess.run([go, *line], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            pytest.skip(f"the Go client cannot be had here: {done.stderr[-200:]}")
    ended = subprocess.run(
        [go, "run", "."], cwd=tmp_path, env=environ(stack), capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.stdout == "confirmed: true\n", ended.stderr


def test_the_tutorial_s_commands_show_what_it_says(stack: Address) -> None:
    page = (ROOT / "docs/tutorial.md").read_text("utf-8")
    blocks = re.findall(r"(?m)^```sh\n((?:.|\n)*?)^```", page)
    assert "scripts/serve\n" in blocks[0]
    assert ". .memq/env\n" in blocks[1]
    printed: list[str] = []
    for commands in blocks[2:]:
        ended = subprocess.run(
            ["sh", "-c", commands],
            cwd=ROOT,
            env=environ(stack),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        printed.append(ended.stdout + ended.stderr)
    assert "512" in printed[0]
    assert "wrong_dimension" in printed[2]
    assert "1 of 1 dead letters" in printed[3]


def test_the_worker_commands_of_the_production_page_exist(stack: Address) -> None:
    page = (ROOT / "docs/how-to/production.md").read_text("utf-8")
    lines = re.findall(r"(?m)^(memq-worker .*?)(?:\s+#.*)?$", page)
    assert lines
    for line in lines:
        ended = subprocess.run(
            [*line.split(), "--help"], env=environ(stack), capture_output=True, text=True, timeout=30, check=False
        )
        assert ended.returncode == 0, ended.stderr


def test_the_scripts_that_the_readme_names_exist() -> None:
    for name in set(re.findall(r"scripts/(\w+)", README)):
        assert os.access(ROOT / "scripts" / name, os.X_OK), name
