"""The reason of a TLS server that refuses a client after the handshake."""

from __future__ import annotations

import socket
import ssl
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from memq_amqp.address import parse
from memq_amqp.brokers import Brokers, NoConnection
from memq_amqp.refusals import Kind
from memq_amqp.tls import Tls

from tests.support.certificates import Certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"


@contextmanager
def server(certificates: Certificates, verify: ssl.VerifyMode) -> Iterator[int]:
    """A server that resets each connection of which it has read a byte. asyncio's does not send alerts."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.ca)
    context.load_cert_chain(certificates.server, certificates.server_key)
    context.verify_mode = verify

    def serve() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            plain.settimeout(0.5)
            with suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as secured:
                secured.recv(1)
                secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.create_server((HOST, 0)) as listening, ThreadPoolExecutor(1) as threads:
        serving = threads.submit(serve)
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        serving.result(10)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


async def test_the_alert_for_a_missing_certificate_is_found(certificates: Certificates) -> None:
    with server(certificates, ssl.CERT_REQUIRED) as port:
        alert = await Tls(cafile=str(certificates.ca)).alert(HOST, port)
        assert "CERTIFICATE_REQUIRED" in str(alert)
        with_client = Tls(str(certificates.ca), None, str(certificates.client), str(certificates.client_key))
        assert await with_client.alert(HOST, port) is None


async def test_a_connection_that_is_reset_is_told_from_a_refused_one(certificates: Certificates) -> None:
    for verify, kind in ((ssl.CERT_REQUIRED, Kind.TLS), (ssl.CERT_NONE, Kind.LOST)):
        with server(certificates, verify) as port:
            brokers = Brokers(parse(f"amqps://{HOST}:{port}/?cafile={certificates.ca}"), name="test", timeout=20.0)
            with pytest.raises(NoConnection) as refused:
                await brokers.connect()
        assert refused.value.refusal.kind is kind


async def test_there_is_no_alert_where_nobody_listens(certificates: Certificates, tmp_path: Path) -> None:
    with server(certificates, ssl.CERT_NONE) as port:
        pass
    assert await Tls(cafile=str(certificates.ca)).alert(HOST, port) is None
    assert await Tls(cafile=str(tmp_path / "gone.pem")).alert(HOST, port) is None
