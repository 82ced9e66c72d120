"""Names of MEMQ_ variables: complete, and misspelt ones are told from strange ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from memq_schemas.variables import KNOWN, SHARED, WORKER, misspelt, unknown
from memq_worker.settings import SECRETS, Settings, file_variable, variable

ROOT = Path(__file__).resolve().parents[3]


def test_every_setting_of_the_worker_is_known() -> None:
    named = {variable(name) for name in Settings.model_fields} | {file_variable(name) for name in SECRETS}
    assert named == {*WORKER, *SHARED}


def test_every_variable_that_scripts_and_compose_read_is_known() -> None:
    read = (ROOT / "docker-compose.yml").read_text("utf-8")
    for script in (ROOT / "scripts").iterdir():
        read += script.read_text("utf-8")
    assert set(re.findall(r"\bMEMQ_[A-Z_]+\b", read)) <= KNOWN


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MEMQ_AMPQ_URL", "MEMQ_AMQP_URL"),
        ("MEMQ_PREFECTH", "MEMQ_PREFETCH"),
        ("MEMQ_QDRANT_URI", "MEMQ_QDRANT_URL"),
        ("MEMQ_METRIC_PORT", "MEMQ_METRICS_PORT"),
        ("MEMQ_DRAIN_SECOND", "MEMQ_DRAIN_SECONDS"),
    ],
)
def test_a_name_within_two_edits_is_named(name: str, meant: str) -> None:
    assert misspelt({name: "1"}) == {name: meant}


def test_other_names_are_unknown_and_not_misspelt() -> None:
    environ = {"MEMQ_COLOUR_SCHEME": "dark", "MEMQ_AMQP_URL": "amqp://a/", "PATH": "/bin"}
    assert (unknown(environ), misspelt(environ)) == (["MEMQ_COLOUR_SCHEME"], {})


def test_what_kubernetes_sets_for_a_service_is_neither() -> None:
    environ = {
        "MEMQ_SERVICE_HOST": "10.0.0.1",
        "MEMQ_SERVICE_PORT": "9464",
        "MEMQ_SERVICE_PORT_METRICS": "9464",
        "MEMQ_PORT": "tcp://10.0.0.1:9464",
        "MEMQ_PORT_9464_TCP": "tcp://10.0.0.1:9464",
        "MEMQ_PORT_9464_TCP_PROTO": "tcp",
        "MEMQ_PORT_9464_TCP_PORT": "9464",
        "MEMQ_PORT_9464_TCP_ADDR": "10.0.0.1",
        "MEMQ_WORKER_SERVICE_HOST": "10.0.0.2",
        "MEMQ_WORKER_PORT": "tcp://10.0.0.2:9464",
    }
    assert (unknown(environ), misspelt(environ)) == ([], {})


@pytest.mark.parametrize("command", [["memq-worker", "check"], ["memq", "count", "-c", "docs"]])
def test_a_command_refuses_a_misspelt_variable_by_name(command: list[str]) -> None:
    program = str(Path(sys.executable).with_name(command[0]))
    ended = subprocess.run(
        [program, *command[1:]],
        env=os.environ | {"MEMQ_AMPQ_URL": "amqp://a/"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "MEMQ_AMPQ_URL" in line
    assert "MEMQ_AMQP_URL" in line


@pytest.mark.parametrize(
    "command",
    [
        [*f"{Path(sys.executable).parent}/{line}".split()]
        for line in ("memq-worker run", "memq-worker check", "memq-worker declare", "memq count -c docs", "memq top")
    ]
    + [
        [sys.executable, "-m", *line.split()] for line in ("stack.demo", "stack.serve", "tests.benchmarks --only drain")
    ],
    ids=lambda command: " ".join(Path(part).name for part in command),
)
def test_an_address_that_is_none_is_one_line_everywhere(command: list[str], tmp_path: Path) -> None:
    ended = subprocess.run(
        [*command, *(["--data-dir", str(tmp_path)] if "stack.serve" in command else [])],
        env=os.environ | {"MEMQ_AMQP_URL": "nonsense"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode in (1, 2)
    (line,) = ended.stderr.splitlines()
    assert "MEMQ_AMQP_URL" in line
