"""RabbitMQ's management API, as far as tenants need it."""

import json
import urllib.error
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from memq_amqp.address import bracketed
from memq_amqp.management import VARIABLE, ManagementError, call, management

from memq_worker.errors import BrokerUnavailable, ConfigurationError
from memq_worker.settings import Settings

_PORTS = {"http": 15672, "https": 15671}
_REASON_LIMIT = 200  # characters of the broker's reason


class Management:
    """One virtual host by one user, with the standard library alone: this is no hot path.

    Every call raises BrokerUnavailable where nothing answers, and ConfigurationError with the broker's reason.
    """

    def __init__(self, url: str, user: str, password: str, vhost: str, timeout: float) -> None:
        self.user = user
        self.vhost = vhost
        self._url = url.rstrip("/")
        self._password = password
        self._timeout = timeout

    @classmethod
    def of(cls, settings: Settings) -> "Management":
        """The API of the first broker of `amqp_url`, or of `management_url`. Raises ConfigurationError."""
        broker = settings.brokers[0]
        given = settings.management_url
        scheme = "https" if broker.tls else "http"
        url = given.get_secret_value() if given else f"{scheme}://{bracketed(broker.host)}:{_PORTS[scheme]}"
        try:
            found = management(url, broker)
        except ManagementError as error:
            raise ConfigurationError(f"{VARIABLE}: {error}") from None
        return cls(found.url, found.user, found.password, broker.vhost, settings.amqp_timeout_seconds)

    def here(self, kind: str, *names: str) -> str:
        """Path of a resource of the virtual host: its kind, as in the API, and its names."""
        return "/".join((kind, quote(self.vhost, safe=""), *(quote(name, safe="") for name in names)))

    def get(self, path: str) -> Any:
        """The resource; None if there is none."""
        return self._call("GET", path)

    def put(self, path: str, body: Mapping[str, Any]) -> None:
        self._call("PUT", path, body)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._call("POST", path, body)

    def delete(self, path: str) -> None:
        """Delete a resource, or leave it at that where there is none."""
        self._call("DELETE", path)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        url = f"{self._url}/api/{path}"
        try:
            text = call(url, self.user, self._password, method=method, body=body, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404 and method in ("GET", "DELETE"):
                    return None
                raise ConfigurationError(self._refused(method, path, error)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise BrokerUnavailable(
                f"RabbitMQ's management API at {self._url}: {reason}; set MEMQ_MANAGEMENT_URL to its address"
            ) from None
        return json.loads(text) if text else None

    def _refused(self, method: str, path: str, error: urllib.error.HTTPError) -> str:
        if error.code == 401:
            return f"RabbitMQ's management API at {self._url} refused user {self.user!r}: tag it administrator"
        try:
            reason = str(json.loads(error.read()).get("reason", error.reason))
        except (ValueError, AttributeError):
            reason = str(error.reason)
        return f"RabbitMQ's management API refused {method} {path}: {error.code} {reason[:_REASON_LIMIT]}"
