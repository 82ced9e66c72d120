"""Commands that print answers, on a full disk and in a pipe whose reader has gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.broker import own_address
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.broker import Broker

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

SECONDS = 120
# One of each way to write: a page for people, JSON, many lines, bytes of a body, and the worker's command.
LINES = [
    "memq count docs",
    "memq query -c docs --vector-json [1,0] --json",
    "memq scroll -c docs --with-vector",
    "memq dead show 1 --body -",
    "memq top --once",
    "memq-worker check",
]
MORE_LINES = [
    "memq get -c docs 1",
    "memq query -c docs --vector-json [1,0]",
    "memq scroll -c docs",
    "memq collections list",
    "memq collections describe docs",
    "memq collections describe docs --json",
    "memq dead list --json",
    "memq dead show 1",
    "memq top --once --json",
    'memq set-payload -c docs 1 --set {"a":1} --wait --json',
    "memq-worker store show",
    "memq-worker tenants --help",
]


@pytest.fixture(scope="module")
def environ(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    data = tmp_path_factory.mktemp("data")
    with own_address(broker) as address, running_worker(address, data_dir=data) as worker:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MEMQ_")}
        given = clean | {"MEMQ_AMQP_URL": address.url, "MEMQ_PREFIX": address.prefix, "MEMQ_DATA_DIR": str(data)}
        given["MEMQ_EMBEDDED_LISTEN"] = worker.settings["embedded_listen"]
        points = "".join(
            json.dumps({"id": n, "vector": [n, 1], "payload": {"t": "x" * 200}}) + "\n" for n in range(500)
        )
        for line, text in (
            ("memq upsert - -c docs --create --wait", points),
            ("memq upsert - -c absent", '{"id": 1, "vector": [1]}'),
        ):
            subprocess.run(command(line), input=text, env=given, text=True, check=True, timeout=SECONDS)
        yield given


def command(line: str) -> list[str]:
    program, *arguments = line.split()
    return [str(Path(sys.executable).with_name(program)), *arguments]


@pytest.mark.parametrize("line", [*LINES, *(pytest.param(line, marks=pytest.mark.slow) for line in MORE_LINES)])
def test_a_full_disk_is_one_line_and_a_closed_pipe_ends_the_command(environ: dict[str, str], line: str) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            command(line), stdout=full, stderr=subprocess.PIPE, text=True, env=environ, timeout=SECONDS, check=False
        )
    program = line.partition(" ")[0]
    # A notice may stand in front, such as that of unknown policies.
    last = ended.stderr.splitlines()[-1:]
    assert (ended.returncode, last) == (1, [f"{program}: standard output: No space left on device"]), ended.stderr
    assert "Traceback" not in ended.stderr
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            command(line), stdout=writer, stderr=subprocess.PIPE, text=True, env=environ, timeout=SECONDS, check=False
        )
    finally:
        os.close(writer)
    assert ended.returncode == -signal.SIGPIPE, ended.stderr
    assert "standard output" not in ended.stderr
    assert "Traceback" not in ended.stderr
