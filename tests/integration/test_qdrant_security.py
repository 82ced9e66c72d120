"""Certificates, keys and proxies between a worker and a real Qdrant."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from qdrant_client import grpc as q

from memq_worker import access
from memq_worker.environment import load
from memq_worker.errors import ConfigurationError, Outage
from memq_worker.qdrant.client import open_store
from tests.support.certificates import Certificates
from tests.support.qdrant import NoQdrantError, ServerTls, own_qdrant_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    from tests.support.engine import EmbeddedEngine

pytestmark = pytest.mark.integration

PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


async def version(monkeypatch: pytest.MonkeyPatch, **variables: object) -> str:
    """The version that a store with these settings gives."""
    for name, value in variables.items():
        monkeypatch.setenv(f"MEMQ_{name.upper()}", str(value))
    return await asked()


async def asked() -> str:
    settings = load()
    opening = open_store(settings.qdrant_url or "", access.api_key(settings), 10.0, security=access.security(settings))
    async with opening as store:
        return await store.version()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def url(certificates: Certificates, tmp_path: Path) -> Iterator[str]:
    """The address of a server with TLS."""
    given = certificates
    tls = ServerTls(given.server, given.server_key, grpc.ssl_channel_credentials(given.ca.read_bytes()))
    try:
        with own_qdrant_server(tmp_path, tls) as address:
            yield f"https://{address}"
    except NoQdrantError as error:
        pytest.skip(str(error))


async def test_the_server_s_certificate_is_verified(
    url: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Outage, match="TLS: certificate verify failed"):
        await version(monkeypatch, qdrant_url=url, qdrant_cafile=certificates.other_ca)
    with pytest.raises(Outage, match="not for the host"):
        await version(monkeypatch, qdrant_url=url.replace("127.0.0.1", "localhost"), qdrant_cafile=certificates.ca)
    assert await version(monkeypatch, qdrant_url=url, qdrant_cafile=certificates.ca)


async def test_a_server_that_asks_for_a_client_certificate_gets_it(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qdrant's gRPC port asks for none, but a gateway in front of it may."""
    given, seen = certificates, list[Any]()

    async def health(_request: Any, context: Any) -> Any:
        seen.append(context.auth_context()["x509_common_name"])
        return q.HealthCheckReply(version="1")

    handler = grpc.unary_unary_rpc_method_handler(
        health, q.HealthCheckRequest.FromString, q.HealthCheckReply.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("qdrant.Qdrant", {"HealthCheck": handler}),))
    pair = (given.server_key.read_bytes(), given.server.read_bytes())
    demanding = grpc.ssl_server_credentials([pair], given.ca.read_bytes(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", demanding)
    await server.start()
    try:
        trusted: dict[str, object] = {"qdrant_url": f"https://127.0.0.1:{port}", "qdrant_cafile": given.ca}
        for name, value in trusted.items():
            monkeypatch.setenv(f"MEMQ_{name.upper()}", str(value))
        with pytest.raises(Outage):
            await asked()
        monkeypatch.setenv("MEMQ_QDRANT_CERTFILE", str(given.client))
        monkeypatch.setenv("MEMQ_QDRANT_KEYFILE", str(given.client_key))
        assert await asked() == "1"
        assert seen == [[b"client"]]
    finally:
        await server.stop(0)


async def test_a_renewed_key_needs_no_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text("old")
    try:
        with own_qdrant_server(tmp_path, api_key="new") as address:
            monkeypatch.setenv("MEMQ_QDRANT_API_KEY_FILE", str(file))
            monkeypatch.setenv("MEMQ_QDRANT_URL", f"http://{address}")
            settings = load()
            opening = open_store(
                f"http://{address}", access.api_key(settings), 10.0, security=access.security(settings)
            )
            async with opening as store:
                with pytest.raises(Outage, match="refused the API key"):
                    await store.list_collections(10.0)
                file.write_text("new\n")
                assert await store.list_collections(10.0) == []
    except NoQdrantError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"qdrant_cafile": "/nowhere/ca.pem"}, "MEMQ_QDRANT_CAFILE: the file cannot be read"),
        ({"qdrant_certfile": "/nowhere/c.pem"}, "MEMQ_QDRANT_CERTFILE: the file cannot be read"),
        ({"qdrant_url": "http://h:0"}, "MEMQ_QDRANT_URL: expected"),
        ({"qdrant_url": "http://::1:6334"}, "MEMQ_QDRANT_URL: expected"),
        ({"qdrant_url": "http://key@h:6334"}, "MEMQ_QDRANT_URL: expected"),
        ({"embedded_listen": "::1:6334"}, "MEMQ_EMBEDDED_LISTEN: expected"),
        ({"embedded_listen": "127.0.0.1:0"}, "MEMQ_EMBEDDED_LISTEN: expected"),
    ],
)
def test_settings_of_no_use_are_named(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"MEMQ_{name.upper()}", value)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert str(caught.value).startswith(named)


@pytest.mark.parametrize(
    ("url", "warned"),
    [("http://qdrant.example:6334", 1), ("http://[::1]:6334", 0), ("http://localhost", 0), ("https://qdrant", 0)],
)
def test_a_key_in_plain_text_to_another_host_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str, warned: int
) -> None:
    monkeypatch.setenv("MEMQ_QDRANT_URL", url)
    monkeypatch.setenv("MEMQ_QDRANT_API_KEY", "key")
    access.warn(load())
    assert [record.message for record in caplog.records] == ["API key sent without TLS"] * warned


@asynccontextmanager
async def proxy(asked: list[bytes]) -> AsyncGenerator[str]:
    """The URL of a proxy that notes the first line of each request, and connects nobody."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server: Any = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_proxy_in_the_environment_is_used_only_when_a_setting_says_so(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[bytes] = []
    # The engine's fixture has to be rid of the variables before its own calls.
    async with proxy(lines) as url:
        with monkeypatch.context() as patched:
            for name in PROXIES:
                patched.setenv(name, url)
            assert await version(patched, qdrant_url=engine.url)
            assert lines == []
            with pytest.raises(Outage):
                await version(patched, qdrant_url=engine.url, qdrant_proxy="true")
    assert lines
    assert lines[0].startswith(b"CONNECT 127.0.0.1")
