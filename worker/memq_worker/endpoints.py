"""Forms that the addresses and certificate files of settings have to have. A ValueError says what would be right."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr
from yarl import URL


def qdrant(value: str | None) -> str | None:
    """Return the address of a Qdrant server; None for an empty text. Raises ValueError."""
    if value is None or not value.strip():
        return None
    url = _url(value)
    if url is None or url.scheme not in ("http", "https") or not url.host or url.port == 0:
        raise ValueError("expected http://host:6334, or https://, with an IPv6 address in brackets")
    if url.user or url.password or url.path != "/" or url.query_string or url.fragment:
        raise ValueError(
            "expected http://host:6334, or https://, without user, path and query; MEMQ_QDRANT_API_KEY takes the key"
        )
    if url.explicit_port == 6333:
        raise ValueError("6333 is Qdrant's REST port; memq speaks gRPC, which is 6334 unless configured otherwise")
    return value


def pem(value: Path | None) -> Path | None:
    """Return the path of a readable file in PEM format; None for an empty text. Raises ValueError."""
    if value is None or not str(value).strip(". "):
        return None
    if b"-----BEGIN " not in readable(value).read_bytes():
        raise ValueError("expected a file in PEM format")
    return value


def readable(value: Path) -> Path:
    """Return the path of a file that can be read. Raises ValueError."""
    try:
        value.open("rb").close()
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from None
    return value


def listen(value: str) -> str:
    """Return host:port, with an IPv6 address in brackets. Raises ValueError."""
    try:
        parts = urlsplit(f"//{value}")
        good = bool(parts.hostname and parts.port) and parts.netloc == value and value.count(":") <= _colons(value)
    except ValueError:
        good = False
    if not good:
        raise ValueError("expected host:port with a port from 1 to 65535, and an IPv6 address in brackets")
    return value


def _colons(place: str) -> int:
    """Most colons that host:port may have."""
    return place.count(":") if place.startswith("[") else 1


def _url(text: str) -> URL | None:
    try:
        return URL(text)
    except ValueError:
        return None


def api_key(value: SecretStr | None) -> SecretStr | None:
    """Return the key; None for an empty one. Raises ValueError for a key that no gRPC header can hold."""
    if value is None or not value.get_secret_value():
        return None
    if not all(" " <= each <= "~" for each in value.get_secret_value()):
        raise ValueError("characters other than printable ASCII; expected the key of Qdrant's configuration")
    return value
