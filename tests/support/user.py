"""A user of the broker whose permissions a test changes."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from stack.amqp import management

if TYPE_CHECKING:
    from tests.support.broker import Address


class User:
    """A user of the test's own on its virtual host."""

    def __init__(self, amqp: Address) -> None:
        self._amqp = amqp
        self.name, self._password = f"user-{secrets.token_hex(4)}", secrets.token_hex(8)

    @property
    def url(self) -> str:
        parts = urlsplit(self._amqp.url)
        return parts._replace(netloc=f"{self.name}:{self._password}@{parts.hostname}:{parts.port}").geturl()

    def api(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        parts = urlsplit(self._amqp.url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        management(method, f"{self._amqp.management_url}/api/{path}", user, password, body)

    def make(self) -> None:
        self.api("PUT", f"users/{self.name}", {"password": self._password, "tags": ""})

    def may(self, *, configure: str = "", write: str = ".*", read: str = ".*") -> None:
        vhost = quote(self._amqp.vhost, safe="")
        self.api("PUT", f"permissions/{vhost}/{self.name}", {"configure": configure, "write": write, "read": read})

    def remove(self) -> None:
        self.api("DELETE", f"users/{self.name}")

    def policy(self, name: str, queue: str, **definition: Any) -> None:
        """Give this queue a policy; remove the policy if it has no definition."""
        path = f"policies/{quote(self._amqp.vhost, safe='')}/{name}"
        body = {"pattern": f"^{queue}$", "apply-to": "queues", "priority": 9, "definition": definition}
        self.api("PUT" if definition else "DELETE", path, body if definition else None)

    def limit(self, name: str, value: int) -> None:
        self.api("PUT", f"vhost-limits/{quote(self._amqp.vhost, safe='')}/{name}", {"value": value})
