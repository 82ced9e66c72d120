"""The brokers of one cluster: connecting to the next that answers, with logins that may be renewed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from memq_amqp.address import Address, AddressError
from memq_amqp.connect import connect, connect_stock, unusable
from memq_amqp.connection import Connection
from memq_amqp.loss import Lost
from memq_amqp.refusals import LOSSES, Fault, Kind, Refusal, refusal_of

Reread = Callable[[], Sequence[Address]]

log = logging.getLogger("memq")


class NoConnection(Exception):
    """No connection could be made. The text names the broker and the reason, never the user or the password."""

    def __init__(self, text: str, refusal: Refusal) -> None:
        super().__init__(text)
        self.refusal = refusal

    @property
    def settings(self) -> bool:
        """Return True if a person has to change something: an address, a login, a certificate, a virtual host."""
        return self.refusal.fault is Fault.SETTINGS


class Brokers:
    """Nodes of one cluster, tried in turn."""

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        name: str,
        timeout: float,
        fast: bool = True,
        reread: Reread | None = None,
    ) -> None:
        """name: of the client, in RabbitMQ's list of connections.   timeout: seconds for one connection.
        fast: use memq's frame codec where the installed aiormq allows it.   reread: called when a login is refused, for
        the addresses with the present password; raises AddressError.
        """
        self.addresses = tuple(addresses)
        self._next = 0
        self._name = name
        self._timeout = timeout
        self._connect = connect if fast else connect_stock
        self._reread = reread
        for address in self.addresses:
            if address.tls is not None and not address.tls.verify:
                log.warning("TLS certificate not verified", extra={"broker": str(address), "option": "no_verify_ssl"})
        if fast and (reason := unusable()) is not None:
            log.warning("falling back to aiormq's frame codec", extra={"reason": reason})

    def __str__(self) -> str:
        return ", ".join(map(str, self.addresses))

    async def connect(self, purpose: str = "") -> Connection:
        """Connect to the next node that answers. Raises NoConnection.

        purpose: added to the client's name.
        """
        for left in reversed(range(len(self.addresses))):
            address = self._turn()
            try:
                return await self._open(address, purpose)
            except NoConnection as error:
                if error.refusal.kind is Kind.CREDENTIALS and self._renewed():
                    return await self.connect(purpose)
                if not left or error.settings:
                    raise
                log.warning("host skipped", extra={"reason": str(error)})
        raise AssertionError("no address")

    def _turn(self) -> Address:
        address = self.addresses[self._next % len(self.addresses)]
        self._next += 1
        return address

    def _renewed(self) -> bool:
        """Return True if the login has changed since it was read."""
        if self._reread is None:
            return False
        try:
            found = tuple(self._reread())
        except AddressError as error:
            log.warning("login not renewed", extra={"reason": str(error)})
            return False
        if found == self.addresses:
            return False
        self.addresses = found
        log.info("login renewed", extra={"brokers": str(self)})
        return True

    async def _open(self, address: Address, purpose: str) -> Connection:
        name = f"{self._name} {purpose}".strip()
        try:
            async with asyncio.timeout(self._timeout):
                return Connection(await self._connect(address, client_properties={"connection_name": name}), address)
        except TimeoutError as error:
            refusal = Refusal(Kind.TIMEOUT, f"no answer within {self._timeout:g} s")
            raise NoConnection(f"{address}: {refusal}", refusal) from error
        except (*LOSSES, Lost) as error:
            refusal = refusal_of(error) or Refusal(Kind.LOST, str(error) or type(error).__name__)
            if refusal.kind is Kind.LOST and address.tls is not None:
                alert = await address.tls.alert(address.host, address.port)
                refusal = refusal if alert is None else refusal_of(alert) or refusal
            raise NoConnection(_text(address, refusal), refusal) from error


def _text(address: Address, refusal: Refusal) -> str:
    match refusal.kind:
        case Kind.CREDENTIALS if address.external:
            return f"{address} refused the client certificate: {refusal}"
        case Kind.CREDENTIALS:
            return f"{address} refused the user or password"
        case Kind.VHOST_MISSING | Kind.VHOST_FORBIDDEN | Kind.MISMATCH:
            return f"{address} refused virtual host {address.vhost!r}: {refusal}"
        case Kind.TLS:
            return f"{address}: TLS: {refusal}"
        case Kind.UNREACHABLE | Kind.LOST:
            return f"{address} cannot be reached: {refusal}"
        case _:
            return f"{address} refused the connection: {refusal}"
