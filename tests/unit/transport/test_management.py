"""Calls over one connection to a server that closes connections, is silent, or has a certificate."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager, suppress
from http.client import HTTPException
from socket import SHUT_RDWR, create_server
from typing import TYPE_CHECKING, TypeAlias

import pytest
from memq_amqp.management import ManagementConnection

from tests.support.certificates import Certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from socket import socket

SECONDS = 20.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


Connected: TypeAlias = "tuple[Server, ManagementConnection]"


class Server:
    """Reads requests, one connection after the other. The first answers so many as `answers` begins with, and so on.

    Then it closes the connection: at once, or with `reads` after another request that it does not answer.
    """

    def __init__(self, *answers: int, reads: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self.methods: list[list[str]] = []
        self.closed = threading.Semaphore(0)
        self._answers, self._reads, self._tls = answers, reads, tls
        self._listener = create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        for count in self._answers:
            with suppress(OSError):
                plain, _ = self._listener.accept()
                self.methods.append([])
                with self._tls.wrap_socket(plain, server_side=True) if self._tls else plain as peer:
                    self._answer(peer, count)
            self.closed.release()

    def _answer(self, peer: socket, count: int) -> None:
        with peer.makefile("rb") as requests:
            for number in range(count + self._reads):
                if not (line := requests.readline()):
                    return
                length = 0
                while (header := requests.readline()) not in (b"\r\n", b""):
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                requests.read(length)
                self.methods[-1].append(line.split()[0].decode())
                if number < count:
                    peer.sendall(ANSWER)

    def wait_until_closed(self) -> None:
        assert self.closed.acquire(timeout=SECONDS)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(SHUT_RDWR)
        self._listener.close()
        self._thread.join(SECONDS)


@contextmanager
def connected(*answers: int, reads: bool = False, tls: ssl.SSLContext | None = None) -> Iterator[Connected]:
    server = Server(*answers, reads=reads, tls=tls)
    connection = ManagementConnection(server.url, "guest", "secret", SECONDS)
    try:
        yield server, connection
    finally:
        connection.close()
        server.close()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_calls_have_one_connection(method: str) -> None:
    with connected(3) as (server, connection):
        assert [connection.call(method, "x").body for _ in range(3)] == [b"{}"] * 3
        server.wait_until_closed()
        assert server.methods == [[method] * 3]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_a_connection_that_was_closed_between_calls_is_replaced(method: str) -> None:
    with connected(1, 1) as (server, connection):
        connection.call("GET", "x")
        server.wait_until_closed()
        assert connection.call(method, "x", {"a": 1}).status == 200
        server.wait_until_closed()
        assert server.methods == [["GET"], [method]]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unanswered_call_is_sent_again_once(method: str) -> None:
    with connected(1, 1, reads=True) as (server, connection):
        connection.call("GET", "x")
        assert connection.call(method, "x", {"a": 1}).status == 200
        server.wait_until_closed()
        assert server.methods[0] == ["GET", method]
        assert server.methods[1][:1] == [method]


def test_an_unanswered_post_is_not_sent_again() -> None:
    with connected(1, reads=True) as (server, connection):
        connection.call("GET", "x")
        with pytest.raises((ConnectionError, HTTPException)):
            connection.call("POST", "x", {"a": 1})
        server.wait_until_closed()
        assert server.methods == [["GET", "POST"]]


def test_a_new_connection_is_tried_once() -> None:
    with connected(0, reads=True) as (server, connection):
        with pytest.raises((ConnectionError, HTTPException)):
            connection.call("GET", "x")
        server.wait_until_closed()
        assert server.methods == [["GET"]]


def test_a_silent_server_costs_the_timeout_and_the_connection() -> None:
    with create_server(("127.0.0.1", 0)) as silent:
        connection = ManagementConnection(f"http://127.0.0.1:{silent.getsockname()[1]}", "guest", "secret", 0.2)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                connection.call("GET", "x")


def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = Certificates(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates.server, certificates.server_key)
    with connected(1, 2, tls=tls) as (server, connection):
        with pytest.raises(ssl.SSLCertVerificationError):
            connection.call("GET", "x")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
        assert [connection.call("GET", "x").status for _ in range(2)] == [200, 200]
        for _ in range(2):
            server.wait_until_closed()
        assert server.methods == [[], ["GET", "GET"]]
