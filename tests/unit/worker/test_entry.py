"""A missing extra is named by every command, before anything is imported that needs it."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.worker import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--data-dir", "{file}", "MEMQ_DATA_DIR: {file} is not a directory"),
        *(
            pytest.param("--data-dir", value, named, marks=pytest.mark.slow)
            for value, named in (
                ("{file}/below", "MEMQ_DATA_DIR: {file} is not a directory"),
                ("{dangling}", "MEMQ_DATA_DIR: {dangling} is not a directory"),
                ("/proc/none", "MEMQ_DATA_DIR: /proc: "),
            )
        ),
        ("--data-dir", "", "--data-dir: empty"),
        ("--metrics-host", "203.0.113.1", "cannot listen on 203.0.113.1"),
        ("--embedded-listen", "203.0.113.1:6334", "cannot listen on 203.0.113.1:6334"),
        ("--embedded-listen", "127.0.0.1:{taken}", "cannot listen on 127.0.0.1:{taken}"),
        ("--tenants-file", "{file}/tenants.toml", "--tenants-file: the file cannot be read"),
    ],
)
def test_the_check_fails_where_a_worker_would(tmp_path: Path, option: str, value: str, named: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as taken,
        closing(socket.create_server(("127.0.0.1", 0))) as free,
    ):
        listen, metrics = free.getsockname()[1], "0" if option != "--metrics-host" else "9464"
        free.close()
        words = {"file": tmp_path / "file", "dangling": tmp_path / "dangling", "taken": taken.getsockname()[1]}
        given = {
            "--amqp-url": "amqp://127.0.0.1:1/",
            "--data-dir": str(tmp_path / "data"),
            "--embedded-listen": f"127.0.0.1:{listen}",
            "--metrics-port": metrics,
            option: value.format(**words),
        }
        line = [each for pair in given.items() for each in pair]
        for command, status in (("run", {2}), ("check", {1, 2})):
            ended = subprocess.run([COMMAND, command, *line], capture_output=True, text=True, timeout=60, check=False)
            assert ended.returncode in status, ended
            assert named.format(**words) in ended.stdout + ended.stderr, ended
            assert "Traceback" not in ended.stderr
