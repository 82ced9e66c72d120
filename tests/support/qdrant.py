"""A real Qdrant server for the contract suite: one that is given, one on PATH, or one in Docker."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import grpc

from stack.images import QDRANT as IMAGE
from stack.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Taken before any test clears the environment: what selects the server is the run's, not a test's.
GIVEN_URL = os.environ.get("MEMQ_QDRANT_URL", "")
READY_SECONDS = 60.0


class NoQdrantError(Exception):
    """Says what was looked for."""


@contextmanager
def own_qdrant_server(data_dir: Path, **settings: str) -> Iterator[str]:
    """The gRPC address, HOST:PORT, of a server started for the test. `settings` are QDRANT__SERVICE__ variables."""
    binary = shutil.which("qdrant")
    if binary is None:
        raise NoQdrantError("no qdrant on PATH")
    with _from_binary(binary, data_dir, **settings) as address:
        yield address


@contextmanager
def qdrant_server(data_dir: Path) -> Iterator[str]:
    """The gRPC address, HOST:PORT, of a server that answers."""
    if GIVEN_URL:
        given = urlsplit(GIVEN_URL)
        yield f"{given.hostname}:{given.port or 6334}"
    elif binary := shutil.which("qdrant"):
        with _from_binary(binary, data_dir) as address:
            yield address
    elif _docker_answers():
        with _from_docker() as address:
            yield address
    else:
        raise NoQdrantError("no real Qdrant: MEMQ_QDRANT_URL is not set, no qdrant on PATH, Docker does not answer")


@contextmanager
def _from_binary(binary: str, data_dir: Path, **settings: str) -> Iterator[str]:
    http, rpc = free_ports(2)
    environment = {
        **os.environ,
        "QDRANT__SERVICE__HOST": "127.0.0.1",
        "QDRANT__SERVICE__HTTP_PORT": f"{http}",
        "QDRANT__SERVICE__GRPC_PORT": f"{rpc}",
        "QDRANT__STORAGE__STORAGE_PATH": f"{data_dir / 'storage'}",
        "QDRANT__STORAGE__SNAPSHOTS_PATH": f"{data_dir / 'snapshots'}",
        "QDRANT__TELEMETRY_DISABLED": "true",
        **{f"QDRANT__SERVICE__{name.upper()}": value for name, value in settings.items()},
    }
    with (data_dir / "qdrant.log").open("wb") as log:
        process = subprocess.Popen([binary], cwd=data_dir, env=environment, stdout=log, stderr=log)
        try:
            yield _ready(f"127.0.0.1:{rpc}")
        finally:
            process.terminate()
            process.wait(READY_SECONDS)


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    asked = subprocess.run([docker, "version"], capture_output=True, timeout=30, check=False)
    return asked.returncode == 0


@contextmanager
def _from_docker() -> Iterator[str]:
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.community.qdrant import QdrantContainer

    # The container class waits for a log line that comes before gRPC listens.
    with QdrantContainer(image=IMAGE) as container:
        yield _ready(container.grpc_host_address)


def _ready(address: str) -> str:
    """gRPC answers a call that waits for the connection, which is all the polling there is."""
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        check(b"", timeout=READY_SECONDS, wait_for_ready=True)
    return address
