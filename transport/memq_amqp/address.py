"""Addresses of RabbitMQ: one grammar for the worker, the producer and both commands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from memq_amqp.tls import Tls, TlsError

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_URL = "amqp://guest:guest@127.0.0.1:5672/%2F"
EXPECTED = "expected amqp://user:password@host:5672/vhost, or amqps:// for TLS"
# A half-open connection is noticed after three heartbeats: RabbitMQ's default of 60 s would mean three minutes.
HEARTBEAT_SECONDS = 10

_PORTS = {"amqp": 5672, "amqps": 5671}
_FILES = ("cafile", "capath", "certfile", "keyfile")
_OPTIONS = (*_FILES, "no_verify_ssl", "auth", "heartbeat")
_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_LARGEST_PORT = _LARGEST_HEARTBEAT = 65535
_SEPARATOR = re.compile(r"[,\s]+(?=amqps?://)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[^\s,%<>\"'\\^`{|}\[\]]+")


class AddressError(ValueError):
    """Address that cannot be used. The text says what would be right, and never quotes the address."""


@dataclass(frozen=True, slots=True)
class Address:
    """One broker. Its text is for people: host, port and virtual host, never the user or the password."""

    url: str = field(repr=False)
    """Normalized: port, virtual host and heartbeat are always given; of the options, only `auth` and `heartbeat`."""
    host: str
    port: int
    vhost: str
    user: str = field(default="guest", repr=False)
    password: str = field(default="guest", repr=False)
    tls: Tls | None = None
    external: bool = False
    """Log in by the client's certificate."""

    def __str__(self) -> str:
        vhost = "" if self.vhost == "/" else f"/{self.vhost}"
        return f"{self.place}{vhost}"

    @property
    def place(self) -> str:
        """host:port, with the brackets of an IPv6 address."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def scheme(self) -> str:
        return "amqps" if self.tls else "amqp"


def bracketed(host: str) -> str:
    """Return the host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def parse(given: str | Sequence[str]) -> tuple[Address, ...]:
    """Addresses of the brokers of one cluster: a list, or a text in which commas or spaces separate them.

    A comma or space separates only in front of `amqp://` or `amqps://`; anywhere else it belongs to an address, such as
    to its password. Raises AddressError.
    """
    parts = _SEPARATOR.split(given.strip(", \t\r\n")) if isinstance(given, str) else given
    if not any(parts):
        raise AddressError(f"empty; {EXPECTED}")
    return tuple(_address(part.strip()) for part in parts)


def _address(text: str) -> Address:
    if _CONTROL.search(text):
        raise AddressError(f"contains a control character; {EXPECTED}")
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that do not enclose an IPv6 address
        raise AddressError(f"host: not a name, an IPv4 address or an IPv6 address in brackets; {EXPECTED}") from None
    scheme = parts.scheme
    if scheme not in _PORTS:
        raise AddressError(f"scheme: not amqp or amqps; {EXPECTED}")
    if "#" in text:
        raise AddressError(f"contains '#', which a user or password holds as %23; {EXPECTED}")
    host, port = _host(parts), _port(parts)
    options = _options(parts.query)
    auth, tls = _security(scheme, options)
    # "/" and no path are the default virtual host, whose name is "/".
    vhost = unquote(parts.path[1:]) or "/"
    if vhost in (".", ".."):  # a path of dots means "/" to aiormq
        raise AddressError(f"virtual host: no URL can name {vhost!r}; expected another name")
    user, password = (unquote(each) if each else "guest" for each in (parts.username, parts.password))
    login = f"{quote(user, '')}:{quote(password, '')}"
    query = urlencode({"heartbeat": _heartbeat(options.get("heartbeat")), **({"auth": auth} if auth else {})})
    url = f"{scheme}://{login}@{bracketed(host)}:{port}/{quote(vhost, '')}?{query}"
    return Address(url, host, port, vhost, user, password, tls, external=auth == "external")


def _host(parts: SplitResult) -> str:
    literal = parts.netloc.rpartition("@")[2]
    if literal.count(":") > 1 and not literal.startswith("["):
        raise AddressError("host: an IPv6 address stands in brackets, as in amqp://user:password@[::1]:5672/vhost")
    host = parts.hostname or ""
    try:
        good = bool(IPv6Address(host)) if literal.startswith("[") else bool(_NAME.fullmatch(host))
    except ValueError:
        good = False
    if not good:
        raise AddressError(f"host: missing, or no name and no IP address; {EXPECTED}")
    return host


def _port(parts: SplitResult) -> int:
    try:
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise AddressError(
            f"port: expected a number from 1 to {_LARGEST_PORT}; a user or password holds / as %2F, ? as %3F, : as %3A "
            f"and @ as %40; {EXPECTED}"
        )
    return port


def _options(query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    if any(name not in _OPTIONS for name, _ in pairs) or len(dict(pairs)) < len(pairs):
        raise AddressError(f"options after '?': expected each of {', '.join(_OPTIONS)} at most once")
    return dict(pairs)


def _heartbeat(given: str | None) -> int:
    if given is None:
        return HEARTBEAT_SECONDS
    if not (given.isascii() and given.isdigit() and int(given) < _LARGEST_HEARTBEAT):
        raise AddressError(f"heartbeat: expected whole seconds, 0 to {_LARGEST_HEARTBEAT - 1}")
    return int(given)


def _security(scheme: str, options: dict[str, str]) -> tuple[str, Tls | None]:
    """SASL mechanism, "" for the default, and settings of TLS; None without TLS."""
    auth = options.get("auth", "").lower()
    if auth not in ("", "plain", "external"):
        raise AddressError("auth: expected plain or external")
    unverified = _BOOLEANS.get(options.get("no_verify_ssl", "0").lower())
    if unverified is None:
        raise AddressError("no_verify_ssl: expected true or false")
    files = {name: options[name] for name in _FILES if name in options}
    if auth == "external" and "certfile" not in files:
        raise AddressError("auth: external needs amqps:// and certfile, the client's certificate")
    if scheme == "amqp":
        if files or unverified:
            raise AddressError(f"{next(iter(files), 'no_verify_ssl')}: needs amqps://; with amqp:// there is no TLS")
        return auth, None
    tls = Tls(**files, verify=not unverified)
    try:
        tls.context()
    except TlsError as error:
        raise AddressError(str(error)) from None
    return auth, tls
