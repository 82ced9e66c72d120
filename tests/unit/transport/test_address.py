"""One grammar of addresses, the same for the worker, the producer, the commands and the stack."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import quote

import aiormq
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from memq_amqp import Address, AddressError
from memq_amqp.address import bracketed, parse

from memq import ConfigurationError as ProducerError
from memq import Producer
from memq_cli.options import Target
from memq_worker.environment import load
from memq_worker.errors import ConfigurationError as WorkerError
from stack.broker import NoBroker
from stack.broker import given as given_broker
from stack.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "MEMQ_AMQP_URL"
SECRET = "s3cret"

names = st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{1,5})?", fullmatch=True)
hosts = names | st.builds(str, st.builds(IPv4Address, st.integers(1, 2**32 - 2)))
hosts |= st.builds(str, st.builds(IPv6Address, st.integers(1, 2**128 - 2)))
# aiormq decodes %2F in a virtual host twice.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
vhosts = texts.filter(lambda text: "%2f" not in text.lower() and text not in ("/", ".", ".."))
# As people write them: percent-encoded as a whole, or with such characters as need not be.
written = st.sampled_from(["", ",;!$&'()*+= ", "@"])


@given(
    hosts,
    st.none() | st.integers(1, 65535),
    texts,
    texts,
    st.none() | vhosts,
    written,
    st.sampled_from(["amqp", "amqps"]),
)
def test_every_part_is_read_as_aiormq_reads_it(
    host: str, port: int | None, user: str, password: str, vhost: str | None, safe: str, scheme: str
) -> None:
    login = f"{quote(user, safe.replace('@', ''))}:{quote(password, safe)}"
    place = bracketed(host) + (f":{port}" if port else "")
    (address,) = parse(f"{scheme}://{login}@{place}" + (f"/{quote(vhost, '')}" if vhost is not None else ""))
    assert (address.host, address.port) == (host, port or {"amqp": 5672, "amqps": 5671}[scheme])
    assert (address.user, address.password, address.vhost) == (user, password, "/" if vhost is None else vhost)

    async def read() -> aiormq.Connection:
        return aiormq.Connection(address.url)

    stock = asyncio.run(read())
    assert (stock.url.host, stock.url.port, stock.vhost) == (host, address.port, address.vhost)
    assert (stock.url.user, stock.url.password, stock.heartbeat_timeout) == (user, password, 10)


@pytest.mark.parametrize("vhost", [".", "..", "%2E", "%2e%2E"])
def test_a_virtual_host_of_dots_is_refused(vhost: str) -> None:
    with pytest.raises(AddressError, match="virtual host"):
        parse(f"amqp://h/{vhost}")


@settings(max_examples=300)
@given(st.text(max_size=40) | st.builds("amqp{}://{}".format, st.sampled_from(["", "s"]), st.text(max_size=40)))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    found: tuple[Address, ...] = ()
    with suppress(AddressError):
        found = parse(text)
    assert all(1 <= address.port <= 65535 and address.host for address in found)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://rabbit", "rabbit:5672"),
        ("amqp://rabbit/", "rabbit:5672"),
        ("amqp://rabbit:5000/%2F", "rabbit:5000"),
        ("amqp://rabbit/team%20a", "rabbit:5672/team a"),
        ("amqps://rabbit/x", "rabbit:5671/x"),
        ("amqp://[::1]", "[::1]:5672"),
        ("AMQPS://[::1]:99/x", "[::1]:99/x"),
    ],
)
def test_an_address_is_shown_without_user_and_password(url: str, shown: str) -> None:
    (address,) = parse(url.replace("://", f"://guest:{SECRET}@"))
    assert str(address) == shown
    assert SECRET not in repr(address)


@pytest.mark.parametrize("separator", [",", " ", ", ", "\n", " ,\t"])
def test_a_comma_or_space_separates_only_before_a_scheme(separator: str) -> None:
    one, two = parse(f"amqp://u:a,b c@one{separator}amqps://two/x,y")
    assert (one.password, one.host, two.host, two.vhost) == ("a,b c", "one", "two", "x,y")
    assert parse(["amqp://one", "amqps://two"])[1].port == 5671


BAD = [
    "",
    " , ",
    "nonsense",
    "rabbit:5672",
    f"http://u:{SECRET}@h",
    "amqp://",
    f"amqp://u:{SECRET}@",
    f"amqp://u:{SECRET}@h:0/",
    f"amqp://u:{SECRET}@h:65536/",
    f"amqp://u:{SECRET}@h:port/",
    f"amqp://u:{SECRET}/x@h",
    f"amqp://u:{SECRET}#x@h",
    f"amqp://u:{SECRET}@one:5672,two:5672/",
    f"amqp://u:{SECRET}@::1:5672/",
    f"amqp://u:{SECRET}@[::1",
    f"amqp://u:{SECRET}@[rabbit]/",
    f"amqp://u:{SECRET}@a b/",
    f"amqp://u:{SECRET}@h/?{SECRET}=1",
    f"amqp://u:{SECRET}@h/?heartbeat=-1",
    f"amqp://u:{SECRET}@h/?heartbeat=1&heartbeat=2",
    f"amqps://u:{SECRET}@h/?auth={SECRET}",
    f"amqps://u:{SECRET}@h/?auth=external",
    f"amqps://u:{SECRET}@h/?no_verify_ssl={SECRET}",
    f"amqps://u:{SECRET}@h/?cafile=/none/{SECRET}",
    f"amqps://u:{SECRET}@h/?capath=/none/{SECRET}",
    f"amqps://u:{SECRET}@h/?certfile=/none/{SECRET}",
    f"amqps://u:{SECRET}@h/?keyfile=/none/{SECRET}",
    f"amqp://u:{SECRET}@h/?cafile=/none",
    f"amqp://u:{SECRET}@h/?no_verify_ssl=1",
    f"amqp://good, amqp://u:{SECRET}@h:0",
]


@pytest.mark.parametrize("url", BAD)
def test_all_refuse_the_same_in_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    with pytest.raises(AddressError) as refused:
        parse(url)
    text = f"{VARIABLE}: {refused.value}"
    assert SECRET not in text
    assert "\n" not in text
    monkeypatch.setenv(VARIABLE, url)
    attempts: list[tuple[Callable[[], object], type[Exception]]] = [
        (load, WorkerError),
        (lambda: given_broker(Machine(environ={}), url), NoBroker),
    ]
    if url:  # an empty variable is one that is not set
        attempts.append((Producer, ProducerError))
        with pytest.raises(typer.Exit):
            Target(url, "memq", 1.0, json=False)
        assert capsys.readouterr().err == f"memq: {text}\n"
    for attempt, error in attempts:
        with pytest.raises(error) as caught:
            attempt()
        assert str(caught.value) == text


@pytest.mark.parametrize("word", ["true", "1", "Yes", "on"])
def test_no_verify_ssl_is_a_boolean(word: str) -> None:
    (address,) = parse(f"amqps://h/?no_verify_ssl={word}")
    assert address.tls is not None
    assert not address.tls.verify
    (address,) = parse("amqps://h/?no_verify_ssl=false")
    assert address.tls is not None
    assert address.tls.verify
