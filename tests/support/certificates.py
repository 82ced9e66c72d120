"""Certificates of an authority of the test's own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Certificates:
    """Files in `home`: those of the server are replaced by `present`, those of the authority and client stay."""

    def __init__(self, home: Path, client: str = "client") -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self.ca, self.other_ca = home / "ca.pem", home / "other-ca.pem"
        self.server, self.server_key = home / "server.pem", home / "server.key"
        self.client, self.client_key = home / "client.pem", home / "client.key"
        self._authority.cert_pem.write_to_path(self.ca)
        trustme.CA().cert_pem.write_to_path(self.other_ca)
        self._write(self._authority.issue_cert("client.example", common_name=client), self.client, self.client_key)
        self.present("good")

    def present(self, kind: str) -> None:
        """Give the server a certificate: good, self-signed, expired or other (for another host)."""
        if kind == "self-signed":
            self._authority.cert_pem.write_to_path(self.server)
            self._authority.private_key_pem.write_to_path(self.server_key)
            return
        issued = self._authority.issue_cert(
            "other.example" if kind == "other" else "127.0.0.1", not_after=LONG_AGO if kind == "expired" else None
        )
        self._write(issued, self.server, self.server_key)

    def _write(self, issued: trustme.LeafCert, cert: Path, key: Path) -> None:
        issued.cert_chain_pems[0].write_to_path(cert)
        issued.private_key_pem.write_to_path(key)
