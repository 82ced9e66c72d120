"""A real Qdrant server for the contract suite: one that is given, one on PATH, or one in Docker."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Files for a server with TLS, and credentials of a client for it. ca: demand client certificates of it."""

    cert: Path
    key: Path
    client: grpc.ChannelCredentials
    ca: Path | None = None

    @property
    def variables(self) -> dict[str, str]:
        found = {
            "QDRANT__SERVICE__ENABLE_TLS": "true",
            "QDRANT__TLS__CERT": str(self.cert),
            "QDRANT__TLS__KEY": str(self.key),
        }
        if self.ca is not None:
            found["QDRANT__SERVICE__VERIFY_HTTPS_CLIENT_CERTIFICATE"] = "true"
            found["QDRANT__TLS__CA_CERT"] = str(self.ca)
        return found


class NoQdrantError(Exception):
    """Says what was looked for."""


@contextmanager
def own_qdrant_server(data_dir: Path, tls: ServerTls | None = None, /, **settings: str) -> Iterator[str]:
    """The gRPC address, HOST:PORT, of a server started for the test. `settings` are QDRANT__SERVICE__ variables."""
    binary = shutil.which("qdrant")
    if binary is None:
        raise NoQdrantError("no qdrant on PATH")
    with _from_binary(binary, data_dir, tls, **settings) as address:
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
def _from_binary(binary: str, data_dir: Path, tls: ServerTls | None = None, /, **settings: str) -> Iterator[str]:
    http, rpc = free_ports(2)
    service = {f"SERVICE__{name.upper()}": value for name, value in settings.items()}
    with _process([binary], data_dir, http, rpc, tls, **service):
        yield _ready(f"127.0.0.1:{rpc}", tls)


@contextmanager
def _process(
    command: list[str], data_dir: Path, http: int, rpc: int, tls: ServerTls | None = None, /, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A running server. `settings` are variables without the prefix QDRANT__."""
    environment = {
        **os.environ,
        "QDRANT__SERVICE__HOST": "127.0.0.1",
        "QDRANT__SERVICE__HTTP_PORT": f"{http}",
        "QDRANT__SERVICE__GRPC_PORT": f"{rpc}",
        "QDRANT__STORAGE__STORAGE_PATH": f"{data_dir / 'storage'}",
        "QDRANT__STORAGE__SNAPSHOTS_PATH": f"{data_dir / 'snapshots'}",
        "QDRANT__TELEMETRY_DISABLED": "true",
        **{f"QDRANT__{name}": value for name, value in settings.items()},
        **({} if tls is None else tls.variables),
    }
    with (data_dir / "qdrant.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=data_dir, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:  # busy with a request
                process.kill()
                process.wait()


class Node:
    """A member of a cluster on loopback, which can be killed and started again on its data."""

    def __init__(self, binary: str, data_dir: Path, first: Node | None = None) -> None:
        data_dir.mkdir()
        self._data_dir = data_dir
        self._http, self._rpc, self._peers = free_ports(3)
        self._command = [binary, "--uri", f"http://127.0.0.1:{self._peers}"]
        if first is not None:
            self._command += ["--bootstrap", f"http://127.0.0.1:{first._peers}"]
        self._stack = ExitStack()
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT of the gRPC API."""
        return f"127.0.0.1:{self._rpc}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def http_address(self) -> str:
        """HOST:PORT of the REST API and of /metrics."""
        return f"127.0.0.1:{self._http}"

    def start(self) -> None:
        settings = {"CLUSTER__ENABLED": "true", "CLUSTER__P2P__PORT": f"{self._peers}"}
        self._running = self._stack.enter_context(
            _process(self._command, self._data_dir, self._http, self._rpc, **settings)
        )
        _ready(self.address)

    def kill(self) -> None:
        """SIGKILL."""
        if self._running is not None:
            self._running.kill()
        self._stack.close()


@contextmanager
def qdrant_cluster(directory: Path, nodes: int = 2) -> Iterator[list[Node]]:
    """A cluster of servers on loopback, all of them ready."""
    binary = shutil.which("qdrant")
    if binary is None:
        raise NoQdrantError("no qdrant on PATH")
    members: list[Node] = []
    with ExitStack() as stack:
        for number in range(nodes):
            member = Node(binary, directory / f"node{number}", members[0] if members else None)
            members.append(member)
            stack.callback(member.kill)
            member.start()
        yield members


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


def _ready(address: str, tls: ServerTls | None = None) -> str:
    """gRPC answers a call that waits for the connection, which is all the polling there is."""
    opening = grpc.insecure_channel(address) if tls is None else grpc.secure_channel(address, tls.client)
    with opening as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        check(b"", timeout=READY_SECONDS, wait_for_ready=True)
    return address
