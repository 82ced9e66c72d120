"""A missing extra is named by every command, before anything is imported that needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCK = """
import sys
from importlib.machinery import PathFinder
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Without())
sys.argv = ["memq-worker", *{arguments!r}]
from memq_worker.entry import main
main()
"""


def run(missing: set[str], *arguments: str) -> tuple[int, str]:
    code = BLOCK.format(missing=missing, arguments=arguments)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("arguments", [["run"], ["check"], ["--help"], ["--version"], ["run", "--help"]])
def test_without_the_worker_extra_one_line_says_what_to_install(arguments: list[str]) -> None:
    code, line = run({"pydantic_settings", "qdrant_client"}, *arguments)
    assert (code, line.count("\n")) == (2, 1)
    assert "pydantic_settings, qdrant_client missing" in line
    assert "pip install 'memq[worker]'" in line


def test_without_the_embedded_extra_its_own_command_names_it() -> None:
    code, line = run({"qdrant_edge"}, "embedded")
    assert (code, line.count("\n")) == (2, 1)
    assert "pip install 'memq[embedded]'" in line


def test_the_check_fails_where_the_engine_is_not_installed() -> None:
    code, _ = run({"qdrant_edge"}, "check", "--amqp-url", "amqp://127.0.0.1:1/")
    assert code == 1
