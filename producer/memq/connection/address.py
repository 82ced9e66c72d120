from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from memq.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "MEMQ_AMQP_URL"
FILE_VARIABLE = "MEMQ_AMQP_URL_FILE"
DEFAULT_URL = "amqp://guest:guest@127.0.0.1:5672/%2F"
HEARTBEAT_SECONDS = 10

_EXPECTED = "expected amqp://user:password@host:5672/vhost (amqps:// for TLS)"


@dataclass(frozen=True, slots=True)
class Address:
    """One broker. Its text is for people: host, port and vhost, never the user or the password."""

    url: str = field(repr=False)
    host: str
    port: int
    vhost: str

    def __str__(self) -> str:
        vhost = "" if self.vhost == "/" else f"/{self.vhost}"
        return f"{self.host}:{self.port}{vhost}"


def addresses(url: str | Sequence[str] | None = None) -> tuple[Address, ...]:
    """Where to connect: what was given, else MEMQ_AMQP_URL, else what the file of MEMQ_AMQP_URL_FILE says, else the
    local broker. Commas separate several brokers.

    Raises ConfigurationError, which never quotes the URL.
    """
    given = url or os.environ.get(VARIABLE) or _from_file() or DEFAULT_URL
    # A comma may stand inside a password; before a scheme it can only be a separator.
    parts = re.split(r"[,\s]+(?=amqps?://)", given.strip()) if isinstance(given, str) else given
    return tuple(_address(part.strip()) for part in parts)


def _from_file() -> str | None:
    path = os.environ.get(FILE_VARIABLE)
    if not path:
        return None
    try:
        text = Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigurationError(f"{FILE_VARIABLE}: the file cannot be read: {reason}") from None
    if not text:
        raise ConfigurationError(f"{FILE_VARIABLE}: the file is empty")
    return text


def _address(url: str) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    except ValueError:
        raise ConfigurationError(f"the broker URL cannot be read: {_EXPECTED}") from None
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
        raise ConfigurationError(f"the broker URL is not an AMQP address: {_EXPECTED}")
    if "heartbeat" not in parse_qs(parts.query):
        query = "&".join(filter(None, (parts.query, f"heartbeat={HEARTBEAT_SECONDS}")))
        url = parts._replace(query=query).geturl()
    return Address(url, parts.hostname, port, unquote(parts.path[1:]) or "/")
