"""The fault proxy does what it says, or the tests that rely on it prove nothing."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.tcp_proxy import TcpProxy, Way, tcp_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            while data := self.request.recv(65536):
                self.request.sendall(data)
        except OSError:
            return


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    with Server(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with tcp_proxy(f"tcp://127.0.0.1:{server.server_address[1]}") as proxy:
            yield proxy
        server.shutdown()


def connected(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def said(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    answer = b""
    while len(answer) < len(data) and (part := client.recv(65536)):
        answer += part
    return answer


def refused(proxy: TcpProxy) -> bool:
    # The reset may come as early as within connect().
    try:
        with closing(connected(proxy)) as client:
            return said(client, b"x") == b""
    except ConnectionError:
        return True


def silent(client: socket.socket) -> bool:
    client.settimeout(0.3)
    try:
        return client.recv(1) is None
    except TimeoutError:
        return True
    finally:
        client.settimeout(10)


def test_it_is_transparent_until_told_otherwise(proxy: TcpProxy) -> None:
    data = bytes(range(256)) * 4096
    with closing(connected(proxy)) as client:
        for start in range(0, len(data), 65536):
            part = data[start : start + 65536]
            assert said(client, part) == part
    assert proxy.carried == {Way.UP: len(data), Way.DOWN: len(data)}


def test_cut_is_an_end_and_reset_an_error_and_new_connections_work(proxy: TcpProxy) -> None:
    with closing(connected(proxy)) as client:
        said(client, b"x")
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with closing(connected(proxy)) as client:
        assert said(client, b"x") == b"x"
        assert proxy.cut() == 1
        assert client.recv(1) == b""
    proxy.refuse()
    assert refused(proxy)
    proxy.heal()
    with closing(connected(proxy)) as client:
        assert said(client, b"x") == b"x"


def test_silence_swallows_and_a_pause_does_not(proxy: TcpProxy) -> None:
    with closing(connected(proxy)) as client:
        assert said(client, b"a") == b"a"
        proxy.pause(Way.DOWN)
        client.sendall(b"b")
        assert silent(client)
        proxy.resume()
        assert client.recv(1) == b"b"
        proxy.silence()
        client.sendall(b"c")
        assert silent(client)
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_chunk_can_be_cut_off_on_its_way(proxy: TcpProxy) -> None:
    with closing(connected(proxy)) as client:
        proxy.cut_when(Way.DOWN, lambda chunk: b"stop" in chunk)
        assert said(client, b"go") == b"go"
        client.sendall(b"stop")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with closing(connected(proxy)) as client:
        assert said(client, b"stop") == b"stop", "once"


def test_throttled_and_sliced_bytes_arrive_whole(proxy: TcpProxy) -> None:
    proxy.throttle(200_000, slice_bytes=7)
    proxy.delay(0.01)
    with closing(connected(proxy)) as client:
        assert said(client, b"0123456789" * 100) == b"0123456789" * 100
