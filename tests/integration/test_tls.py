"""TLS to a real broker: what works, and what is said of what does not; and logins that are renewed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest

from memq import ConfigurationError, Producer
from memq_worker import access
from memq_worker.amqp.connection import Brokers
from memq_worker.environment import load
from memq_worker.errors import ConfigurationError as WorkerError
from stack.broker import choose
from stack.machine import Machine
from stack.node import HOST, Node
from stack.ports import free_ports
from tests.conftest import ENVIRONMENT
from tests.support.broker import Address
from tests.support.certificates import Certificates
from tests.support.worker import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.engine import EmbeddedEngine

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

CLIENT = "memq client"
VARIABLE = "MEMQ_AMQP_URL"
CONF = """\
listeners.ssl.default = {host}:{port}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {cert}
ssl_options.keyfile = {key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = {required}
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
ssl_cert_login_from = common_name
"""


class Secured:
    """A private broker with TLS beside its plain listener."""

    def __init__(self, node: Node, certificates: Certificates) -> None:
        self.node = node
        self.certificates = certificates
        (self.port,) = free_ports(1)

    def start(self, *, required: bool = False) -> None:
        given = self.certificates
        self.node.conf = CONF.format(
            host=HOST,
            port=self.port,
            ca=given.ca,
            cert=given.server,
            key=given.server_key,
            required="true" if required else "false",
        )
        self.node.start()

    def present(self, kind: str) -> None:
        self.certificates.present(kind)
        self.node.control("eval", "ssl:clear_pem_cache().")

    def url(self, *, login: str | None = None, **options: Any) -> str:
        parts = urlsplit(self.node.amqp_url)
        user = f"{parts.username}:{parts.password}" if login is None else login
        query = "&".join(f"{name}={quote(str(value))}" for name, value in options.items())
        return f"amqps://{user}{'@' if user else ''}{HOST}:{self.port}/?{query}"

    @property
    def with_client(self) -> dict[str, Any]:
        found = self.certificates
        return {"cafile": found.ca, "certfile": found.client, "keyfile": found.client_key}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    home = tmp_path_factory.mktemp("secured")
    make, how = choose(Machine(environ=ENVIRONMENT))
    node = make(home / "node")
    if not isinstance(node, Node):
        pytest.skip(f"only a node on this machine can read the certificates, and this is {how}")
    node.plugins.append("rabbitmq_auth_mechanism_ssl")
    found = Secured(node, Certificates(home / "certificates", CLIENT))
    try:
        found.start()
        node.control("add_user", CLIENT, "never used")
        node.control("set_permissions", CLIENT, ".*", ".*", ".*")
        yield found
    finally:
        node.close(grace=0.0)


@pytest.mark.parametrize("way", ["tls", "mutual", "external", "unverified"])
async def test_messages_pass_through_tls(secured: Secured, engine: EmbeddedEngine, way: str) -> None:
    url = {
        "tls": secured.url(cafile=secured.certificates.ca),
        "mutual": secured.url(**secured.with_client),
        "external": secured.url(login="", auth="external", **secured.with_client),
        "unverified": secured.url(no_verify_ssl="true"),
    }[way]
    prefix = f"tls-{way}"
    address = Address(url, prefix, secured.node.management_url, "/")
    with running_worker(address, qdrant_url=engine.url) as worker:
        async with Producer(url, prefix=prefix) as producer:
            await producer.collections.create(prefix, 2)
            await producer.upsert(prefix, ids=[1], vectors=np.ones((1, 2)), wait=True)
            assert (await producer.count(prefix)).count == 1
        assert bool(worker.logged("TLS certificate not verified")) is (way == "unverified")


async def refusals(monkeypatch: pytest.MonkeyPatch, url: str) -> tuple[str, str]:
    """Reasons that a producer and a worker give for not connecting."""
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(ConfigurationError) as producer:
        await Producer(timeout=20).__aenter__()
    with pytest.raises(WorkerError) as worker:
        async with Brokers(load().brokers, "tested", 20.0).connect("check"):
            pass
    return str(producer.value), str(worker.value)


@pytest.mark.parametrize(
    ("presented", "trusted", "reason"),
    [
        ("good", "other_ca", "certificate verify failed: self-signed certificate in certificate chain"),
        ("good", None, "certificate verify failed: self-signed certificate in certificate chain"),
        ("self-signed", None, "certificate verify failed: self-signed certificate"),
        ("expired", "ca", "certificate verify failed: certificate has expired"),
        ("other", "ca", "certificate verify failed: IP address mismatch"),
    ],
)
async def test_the_reason_of_a_refused_certificate_reaches_the_user(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, presented: str, trusted: str | None, reason: str
) -> None:
    options = {} if trusted is None else {"cafile": getattr(secured.certificates, trusted)}
    await asyncio.to_thread(secured.present, presented)
    try:
        for text in await refusals(monkeypatch, secured.url(**options)):
            # Debian 12 wrote "self signed" before OpenSSL 3.
            assert reason in text.replace("self signed", "self-signed")
            assert str(secured.port) in text
    finally:
        await asyncio.to_thread(secured.present, "good")


async def test_a_plain_port_is_told_from_a_tls_one(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = secured.node.amqp_url.replace("amqp://", "amqps://")
    for text in await refusals(monkeypatch, plain):
        assert "TLS" in text


async def test_a_user_that_the_certificate_does_not_name_is_refused(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(secured.node.control, "delete_user", CLIENT)
    try:
        url = secured.url(login="", auth="external", **secured.with_client)
        for text in await refusals(monkeypatch, url):
            assert "refused the client certificate" in text
    finally:
        await asyncio.to_thread(secured.node.control, "add_user", CLIENT, "never used")
        await asyncio.to_thread(secured.node.control, "set_permissions", CLIENT, ".*", ".*", ".*")


async def test_a_renewed_password_needs_no_restart(
    secured: Secured, engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node, file = secured.node, tmp_path / "amqp_url"

    def renew(password: str) -> None:
        verb = "change_password" if file.exists() else "add_user"
        node.control(verb, "renewed", password)
        node.control("set_permissions", "renewed", ".*", ".*", ".*")
        file.write_text(f"amqp://renewed:{password}@{HOST}:{node.ports.amqp}/\n")

    await asyncio.to_thread(renew, "one")
    monkeypatch.setenv(f"{VARIABLE}_FILE", str(file))
    address = Address("", "renewed", node.management_url, "/")
    with running_worker(address, qdrant_url=engine.url, amqp_url_file=file) as worker:
        async with Producer(prefix="renewed") as producer:
            await producer.collections.create("renewed", 2)
            await asyncio.to_thread(renew, "two")
            await asyncio.to_thread(node.control, "close_all_user_connections", "renewed", "login renewed")
            await producer.upsert("renewed", ids=[1], vectors=np.ones((1, 2)), wait=True)
        assert worker.logged("login renewed")


async def test_a_client_certificate_that_is_missing_is_named(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    await asyncio.to_thread(secured.node.stop, 0.0)
    await asyncio.to_thread(lambda: secured.start(required=True))
    monkeypatch.setenv(VARIABLE, secured.url(**secured.with_client))
    async with access.brokers(load()).connect("check"):
        pass
    for text in await refusals(monkeypatch, secured.url(cafile=secured.certificates.ca)):
        assert "TLS" in text
        assert "certificate required" in text
