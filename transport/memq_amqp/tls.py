"""Certificates of a TLS connection."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


class TlsError(ValueError):
    """File that cannot be used for TLS. The text names the option, and says why."""


class _Encrypted(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM format: cafile, capath: trusted authorities, by default the system's; certfile, keyfile: of the
    client, with the key in certfile unless keyfile is given. verify: check the server's certificate and host name."""

    cafile: str | None = None
    capath: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """Read the files, so that a renewed certificate counts from the next connection on. Raises TlsError."""
        if self.keyfile is not None and self.certfile is None:
            raise TlsError("keyfile: needs certfile, the certificate of this key")
        for name in ("cafile", "certfile", "keyfile"):
            _read(name, getattr(self, name))
        if self.capath is not None and not Path(self.capath).is_dir():
            raise TlsError("capath: expected a directory of certificates")
        try:
            context = ssl.create_default_context(cafile=self.cafile, capath=self.capath)
        except (ssl.SSLError, ValueError):
            raise TlsError("cafile: expected certificates in PEM format") from None
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certfile is not None:
            _load(context, self.certfile, self.keyfile)
        return context

    async def alert(self, host: str, port: int) -> ssl.SSLError | None:
        """Return the alert with which a server ends a connection that has passed its handshake; None without one.

        In TLS 1.3 (RFC 8446, 4.4.2.4) a server refuses a client's certificate, or its absence, after the client has
        finished: a client that writes at once may read a reset of the socket before the alert. This connection only
        reads.
        """
        with suppress(TlsError, OSError):  # TimeoutError among them
            context = await asyncio.to_thread(self.context)
            async with asyncio.timeout(_ALERT_SECONDS):
                reader, writer = await asyncio.open_connection(host, port, ssl=context)
                try:
                    await reader.read(1)
                except ssl.SSLError as error:
                    return error
                finally:
                    writer.transport.abort()
        return None


_ALERT_SECONDS = 2.0


def _read(name: str, path: str | None) -> None:
    if path is None:
        return
    try:
        Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise TlsError(f"{name}: the file cannot be read: {reason}") from None


def _load(context: ssl.SSLContext, certfile: str, keyfile: str | None) -> None:
    def asked() -> str:
        raise _Encrypted

    try:
        # OpenSSL asks for a password on the terminal otherwise.
        context.load_cert_chain(certfile, keyfile, asked)
    except _Encrypted:
        name = "keyfile" if keyfile else "certfile"
        raise TlsError(f"{name}: the private key is encrypted; expected it without a password") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError("keyfile: not the key of the certificate in certfile") from None
        raise TlsError("certfile, keyfile: expected a certificate and its private key in PEM format") from None
