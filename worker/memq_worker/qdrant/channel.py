"""The gRPC channel to a store: its address, certificates and key."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from memq_amqp.address import bracketed
from yarl import URL

from memq_worker.errors import ConfigurationError

_PORT = 6334
_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    # gRPC's default reaches two minutes, and all that time calls to a server that is back would fail unsent.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


@dataclass(frozen=True, slots=True)
class Security:
    """How a store is reached beyond its address.

    cafile: certificates, in PEM format, of the authorities that are trusted; None for the system's.
    certfile, keyfile: the client's certificate and its key.   proxy: obey http_proxy and grpc_proxy.
    reread: called when the store refuses the API key, for the present one; None where it cannot change.
    """

    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    proxy: bool = False
    reread: Callable[[], str | None] | None = field(default=None, repr=False)


def open_channel(url: str, security: Security, receive_bytes: int) -> grpc.aio.Channel:
    """Return a channel that connects when it is first used. Raises ConfigurationError for a file of no use.

    url: http(s)://host:port of the gRPC port, 6334 by default.
    """
    parsed = URL(url)
    target = f"{bracketed(parsed.host or '')}:{parsed.explicit_port or _PORT}"
    options = [
        *_OPTIONS,
        ("grpc.max_receive_message_length", receive_bytes),
        # Many containers have a proxy in their environment, and gRPC would send even loopback traffic there.
        ("grpc.enable_http_proxy", int(security.proxy)),
    ]
    if parsed.scheme != "https":
        return grpc.aio.insecure_channel(target, options=options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read("MEMQ_QDRANT_CAFILE", security.cafile),
        private_key=_read("MEMQ_QDRANT_KEYFILE", security.keyfile or security.certfile),
        certificate_chain=_read("MEMQ_QDRANT_CERTFILE", security.certfile),
    )
    return grpc.aio.secure_channel(target, credentials, options=options)


def _read(variable: str, path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{variable}: the file cannot be read: {error.strerror}") from None
