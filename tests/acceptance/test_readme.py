"""The README's examples, run as they stand against a real stack."""

from __future__ import annotations

import os
import re
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


def test_the_shell_example_works(stack: Address) -> None:
    script = "set -eu\n" + block(section("From the command line"), "sh")
    ended = subprocess.run(
        ["sh", "-c", script], cwd=ROOT, env=environ(stack), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "512" in ended.stdout


def test_the_commands_for_running_workers_exist(stack: Address) -> None:
    commands = [line.split("#")[0].split() for line in block(section("Running workers"), "sh").splitlines()]
    for line in commands:
        if line[0] == "memq-worker":
            ended = subprocess.run(
                [*line, "--help"], env=environ(stack), capture_output=True, text=True, timeout=30, check=False
            )
            assert ended.returncode == 0, ended.stderr


def test_the_scripts_that_the_readme_names_exist() -> None:
    for name in set(re.findall(r"scripts/(\w+)", README)):
        assert os.access(ROOT / "scripts" / name, os.X_OK), name
